"""URLs that git hands to its helper. Imports nothing: what one names is asked for before the rest is imported."""

SCHEMES = ("forge://", "forge::")


def named(url: str) -> str:
    """The name, or the ticket, that a URL is for."""
    return url.removeprefix(SCHEMES[0]).removeprefix(SCHEMES[1]).strip("/")
