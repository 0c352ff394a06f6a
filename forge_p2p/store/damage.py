"""Looking at a database file without LMDB, which trusts its pages and might not survive them."""

from pathlib import Path

import lmdb.verify


def damage(path: Path) -> list[str]:
    """What is wrong with the structure of a database file; empty if it is sound."""
    try:
        if not path.exists():
            return [f"{path} is missing"]
        return [f"{path}: {finding}" for finding in lmdb.verify.verify(str(path))]  # type: ignore[no-untyped-call]
    except (lmdb.verify.VerifyError, OSError) as error:
        return [f"{path}: {error}"]
