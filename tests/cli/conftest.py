from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's folder that does not exist yet."""
    return tmp_path / "home"
