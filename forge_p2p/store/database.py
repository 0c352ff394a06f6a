"""What the store's two databases have in common: an open environment, and the table `meta`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forge_p2p.store.environment import Environment, open_environment


class Database:
    """One open LMDB file with these tables. Raises as `open_environment`."""

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        self.environment: Environment = open_environment(path, tables)

    def close(self) -> None:
        self.environment.release()

    @property
    def meta(self) -> Any:
        return self.environment.tables["meta"]
