from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import forge
from tests.git.harness import Person, person
from tests.node.members_up import said

SETTINGS = """
listen = "127.0.0.1:0"
[store]
reserve = 0
[net]
lan = false
dial_timeout = 5
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Person]]:
    """Who made the network "team", and a writer in it; both nodes are up."""
    folder = tmp_path_factory.mktemp("people")
    ada, bob = (person(folder, name, SETTINGS) for name in ("ada", "bob"))
    said(ada.home, "network", "create", "team")
    said(ada.home, "up", "--detach")
    said(bob.home, "network", "join", ada.forge("network", "invite", "--role", "writer"))
    said(bob.home, "up", "--detach")
    yield ada, bob
    for each in (ada, bob):
        forge(each.home, "down")


@pytest.fixture
def ada(people: tuple[Person, Person], tmp_path: Path) -> Person:
    """The founder, with a folder of this test's own."""
    return _at(people[0], tmp_path / "ada")


@pytest.fixture
def bob(people: tuple[Person, Person], tmp_path: Path) -> Person:
    """The writer, with a folder of this test's own."""
    return _at(people[1], tmp_path / "bob")


def _at(person: Person, folder: Path) -> Person:
    folder.mkdir()
    return Person(person.home, folder, person.bin)
