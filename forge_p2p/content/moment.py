"""Points in time, in words. All are in Unix seconds."""

from datetime import UTC, datetime


def date_of(moment: float) -> str:
    """ "2027-01-16 08:00 UTC"; what no calendar has as a number."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{moment:.0f} seconds after 1970"


def since(moment: float, now: float) -> str:
    """ "2 hours ago, at 2027-01-16 08:00 UTC"."""
    seconds = int(now - moment)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds // length
            ago = f"{count} {unit}{'s' if count > 1 else ''} ago"
            break
    else:
        ago = "just now"
    return f"{ago}, at {date_of(moment)}"
