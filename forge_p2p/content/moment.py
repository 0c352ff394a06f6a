"""A point in time that has passed, in words."""

from datetime import UTC, datetime


def since(moment: float, now: float) -> str:
    """ "2 hours ago, at 2027-01-16 08:00 UTC". Both in Unix seconds."""
    seconds = int(now - moment)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds // length
            ago = f"{count} {unit}{'s' if count > 1 else ''} ago"
            break
    else:
        ago = "just now"
    try:
        return f"{ago}, at {datetime.fromtimestamp(moment, UTC).strftime('%Y-%m-%d %H:%M UTC')}"
    except (OverflowError, ValueError, OSError):
        return ago
