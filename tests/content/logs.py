"""Logs of names for tests, right ones and wrong ones."""

from dataclasses import replace
from typing import Any

from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.membership import Role
from forge_p2p.content.ref import NOTHING, RefRecord, sign_record
from forge_p2p.ids import NodeId
from tests.content.networks import Member, World

NAME = "assets/textures"
HOME = NodeId(bytes(range(32)))


def root(number: int) -> Root:
    """Something that a name can stand for."""
    content = f"listing {number}".encode()
    return Root(Kind.TREE, Link(hash_bytes(content), len(content), 0))


def writer(world: World, number: int = 20, role: Role = Role.WRITER) -> Member:
    """Who joined by a token of its own, with this role."""
    return world.member(number, world.token(number + 1000, role))


def record(world: World, author: Member, previous: RefRecord | None = None, **changes: Any) -> RefRecord:
    """The next record, signed by its author; `changes` replace what it would say."""
    unsigned = RefRecord(
        network=world.id,
        name=NAME,
        seq=previous.seq + 1 if previous else 1,
        previous=previous.hash if previous else NOTHING,
        target=root(previous.seq if previous else 0),
        time=previous.time + 1 if previous else world.now,
        expires=0,
        protected=previous.protected if previous else False,
        home=HOME,
        chain=author.chain,
        signature=b"",
    )
    return sign_record(author.private, replace(unsigned, **changes))


def log(world: World, author: Member, count: int) -> list[RefRecord]:
    """A log of so many records."""
    records: list[RefRecord] = []
    for _ in range(count):
        records.append(record(world, author, records[-1] if records else None))
    return records
