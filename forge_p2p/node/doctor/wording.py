"""Numbers in the words of findings. (`cli/units` is for tables, and not to be imported from here.)"""


def size(count: int) -> str:
    """Bytes in the unit that suits them: "999 B", "1.5 kB", "534.0 MB"."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.95:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as "40 seconds", "3 hours", "12 days"."""
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}s"
    return f"{seconds:.0f} seconds"
