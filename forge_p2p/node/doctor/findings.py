"""What a check returns."""

from forge_p2p.node.results import Finding


def ok(check: str, message: str) -> Finding:
    """It works."""
    return Finding(check, "ok", message, "")


def warn(check: str, message: str, hint: str) -> Finding:
    """It works, but worse than it could; `hint` says what to do."""
    return Finding(check, "warn", message, hint)


def fail(check: str, message: str, hint: str) -> Finding:
    """It does not work; `hint` says what to do."""
    return Finding(check, "fail", message, hint)
