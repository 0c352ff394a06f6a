"""News among members: revocations reach everybody, take effect at once, and nothing circles or grows."""

import random
from collections import deque
from collections.abc import Iterable, Sequence

import pytest

from forge_p2p.content.membership import Chain, Flaw, NotAMember, Role
from forge_p2p.content.revocation import Revocation
from forge_p2p.ids import NodeId
from forge_p2p.proto import membership, roster
from forge_p2p.proto.membership import (
    MembershipOver,
    NetworkMembers,
    Output,
    PeerLied,
    RevocationsLearned,
    TellNews,
    encode_digest,
    encode_member,
    encode_revocation,
)
from forge_p2p.wire.limits import NEWS_ITEM_MAX
from tests.content.networks import DAY, NOW, Member, World, key, public

WORLD = World()
ADMIN = WORLD.member(3, WORLD.token(2, Role.ADMIN))
TOKEN = WORLD.token(4, Role.READER, ADMIN)
READER, WRITER = WORLD.member(5, TOKEN), WORLD.member(6, WORLD.token(7, Role.WRITER))
VICTIM = WORLD.member(9, TOKEN)


class Node:
    """One node's state; a session's key is the peer's name."""

    def __init__(self) -> None:
        self.members: NetworkMembers[str] = NetworkMembers(WORLD.id)
        self.learned: list[Revocation] = []

    def meets(self, name: str, member: Member, now: float = NOW) -> list[Output[str]]:
        """A session with `member` begins; what comes of it."""
        found = self.members.verify(member.chain, member.node_id, now)
        self.members.session_started(name, found, member.chain, now)
        return self.take()

    def hears(self, name: str, *items: bytes, now: float = NOW) -> list[Output[str]]:
        self.members.receive_news(name, items, now)
        return self.take()

    def revokes(self, revocation: Revocation, now: float = NOW) -> list[Output[str]]:
        assert self.members.add_revocation(revocation, now)
        return self.take()

    def take(self) -> list[Output[str]]:
        taken = self.members.take()
        for output in taken:
            if isinstance(output, RevocationsLearned):
                self.learned += output.revocations
        return [output for output in taken if not isinstance(output, RevocationsLearned)]


def told(outputs: Iterable[Output[str]], name: str) -> list[bytes]:
    """What a session is to be told."""
    return [
        item for output in outputs if isinstance(output, TellNews) and output.session == name for item in output.items
    ]


def over(outputs: Iterable[Output[str]]) -> dict[str, Flaw]:
    """Which sessions are to end, and why."""
    return {output.session: output.error.flaw for output in outputs if isinstance(output, MembershipOver)}


def lies(outputs: Iterable[Output[str]]) -> list[str]:
    return [output.session for output in outputs if isinstance(output, PeerLied)]


def test_a_session_begins_with_a_digest_and_members() -> None:
    node = Node()
    first = told(node.meets("reader", READER), "reader")
    assert first == [encode_digest(node.members.revocations.digest())]
    outputs = node.meets("writer", WRITER)
    assert told(outputs, "writer") == [first[0], encode_member(READER.chain)]
    assert told(outputs, "reader") == [encode_member(WRITER.chain)]
    assert node.meets("again", WRITER)[1:] == [], "a second session with somebody is no news to anybody"
    assert {each.member.node_id for each in node.members.roster} == {READER.node_id, WRITER.node_id}


def test_a_revocation_takes_effect_and_is_passed_on_once() -> None:
    node = Node()
    for name, member in (("admin", ADMIN), ("reader", READER), ("victim", VICTIM)):
        node.meets(name, member)
    item = encode_revocation(WORLD.revoke(VICTIM.node_id, ADMIN))
    outputs = node.hears("admin", item)
    assert over(outputs) == {"victim": Flaw.REVOKED}
    assert told(outputs, "reader") == [item]
    assert told(outputs, "victim") == [item], "who is revoked hears why"
    assert told(outputs, "admin") == [], "not to who said it"
    assert [each.key for each in node.learned] == [VICTIM.node_id]
    assert node.hears("reader", item) == node.hears("admin", item, item) == [], "nothing circles"
    with pytest.raises(NotAMember) as caught:
        node.members.verify(VICTIM.chain, VICTIM.node_id, NOW)
    assert caught.value.flaw is Flaw.REVOKED


def test_revoking_a_token_ends_all_who_joined_by_it() -> None:
    node = Node()
    for name, member in (("reader", READER), ("writer", WRITER), ("victim", VICTIM)):
        node.meets(name, member)
    assert over(node.revokes(WORLD.revoke(TOKEN.id))) == {"reader": Flaw.REVOKED, "victim": Flaw.REVOKED}
    assert [name for name, _ in node.members.sessions()] == ["writer"]


def test_revoking_an_admin_ends_whom_it_let_in_and_undoes_what_it_revoked() -> None:
    node = Node()
    for name, member in (("admin", ADMIN), ("reader", READER)):
        node.meets(name, member)
    node.revokes(WORLD.revoke(WRITER.node_id, ADMIN))
    assert over(node.revokes(WORLD.revoke(ADMIN.node_id))) == {"admin": Flaw.REVOKED, "reader": Flaw.REVOKED}
    assert node.members.verify(WRITER.chain, WRITER.node_id, NOW).role is Role.WRITER


def test_one_revoked_between_verdict_and_start() -> None:
    node = Node()
    found = node.members.verify(VICTIM.chain, VICTIM.node_id, NOW)
    node.revokes(WORLD.revoke(VICTIM.node_id))
    node.members.session_started("victim", found, VICTIM.chain, NOW)
    assert over(node.take()) == {"victim": Flaw.REVOKED}
    assert node.members.sessions() == []


def test_sessions_end_when_their_time_has_come() -> None:
    node = Node()
    short = WORLD.member(12, WORLD.token(11, expires=NOW + 60))
    node.meets("short", short)
    node.meets("long", READER)
    assert node.members.next_deadline() == NOW + 60
    node.members.handle_timeout(NOW + 59.9)
    assert node.take() == []
    node.members.handle_timeout(NOW + 60)
    assert over(node.take()) == {"short": Flaw.EXPIRED}
    assert node.members.next_deadline() is None
    assert [each.member.node_id for each in node.members.roster] == [READER.node_id]


def test_sessions_end_when_the_clock_is_set_back_to_before_they_could_be() -> None:
    node = Node()
    node.meets("peer", READER)
    node.members.handle_timeout(NOW)
    node.members.handle_timeout(NOW - 1)
    assert over(node.take()) == {}
    node.members.handle_timeout(READER.chain[-1].issued - 1000)
    assert over(node.take()) == {"peer": Flaw.NOT_YET_VALID}


def test_digests_that_differ_bring_everything_once() -> None:
    node = Node()
    node.meets("peer", READER)
    mine = [WORLD.revoke(public(key(number))) for number in range(20, 25)]
    for revocation in mine:
        node.revokes(revocation)
    assert node.hears("peer", encode_digest(node.members.revocations.digest())) == []
    assert told(node.hears("peer", encode_digest(bytes(16))), "peer") == [encode_revocation(each) for each in mine]
    assert node.hears("peer", encode_digest(bytes(16))) == [], "asking again costs nothing"


FOREIGN = World(number=2000)
FORGED = WORLD.revoke(VICTIM.node_id, READER)


@pytest.mark.parametrize(
    "item",
    [
        encode_revocation(FORGED),
        encode_revocation(FOREIGN.revoke(VICTIM.node_id)),
        encode_revocation(WORLD.revoke(VICTIM.node_id))[:-1] + b"\0",
        encode_revocation(WORLD.revoke(VICTIM.node_id))[:40],
        encode_member(FOREIGN.founder().chain),
        encode_member(WRITER.chain[::-1]),
        encode_member(()),
        encode_member(WORLD.token(13).chain),
        encode_member(WRITER.chain)[:-1],
        b"\2junk",
    ],
)
def test_who_lies_is_left(item: bytes) -> None:
    """What was good before the lie stands."""
    node = Node()
    node.meets("liar", READER)
    node.meets("other", WRITER)
    good = encode_revocation(WORLD.revoke(public(key(30))))
    outputs = node.hears("liar", good, item, encode_revocation(WORLD.revoke(WRITER.node_id)))
    assert lies(outputs) == ["liar"]
    assert told(outputs, "other") == [good]
    assert over(outputs) == {}, "what came behind the lie is not looked at"
    assert node.hears("liar", good) == [], "nothing is heard from it any more"


@pytest.mark.parametrize("item", [b"", b"\x63of a later version", bytes([0])])
def test_what_is_not_understood_does_no_harm(item: bytes) -> None:
    node = Node()
    node.meets("peer", READER)
    assert node.hears("peer", item) == []
    assert len(node.members.sessions()) == 1


def test_members_by_hearsay() -> None:
    node = Node()
    node.meets("reader", READER)
    node.meets("writer", WRITER)
    item = encode_member(VICTIM.chain)
    outputs = node.hears("reader", item)
    assert told(outputs, "writer") == [item]
    assert told(outputs, "reader") == []
    assert node.hears("writer", item) == []
    known = node.members.roster.get(VICTIM.node_id)
    assert known is not None
    assert not known.met


def test_hearsay_takes_nothing_from_who_was_met() -> None:
    """A bearer can certify the keys of others; that must not change what is known of them."""
    node = Node()
    node.meets("writer", WRITER)
    slander = WORLD.member(6, TOKEN, NOW + 60, label="somebody else")
    assert slander.node_id == WRITER.node_id
    assert node.hears("writer", encode_member(slander.chain)) == []
    known = node.members.roster.get(WRITER.node_id)
    assert known is not None
    assert known.member.role is Role.WRITER
    node.revokes(WORLD.revoke(public(key(7))))
    node.meets("reader", READER)
    node.hears("reader", encode_member(slander.chain))
    assert getattr(node.members.roster.get(WRITER.node_id), "chain", None) == slander.chain, "joined again, elsewhere"


def test_members_that_are_not_good_go_no_further() -> None:
    node = Node()
    node.meets("reader", READER)
    node.meets("writer", WRITER)
    node.revokes(WORLD.revoke(public(key(40))))
    short = WORLD.member(12, WORLD.token(11, expires=NOW + 60))
    future = WORLD.member(13, TOKEN, NOW + DAY)
    revoked = WORLD.member(40, TOKEN)
    items = [encode_member(each.chain) for each in (short, future, revoked)]
    assert node.hears("reader", *items, now=NOW + 60) == []
    assert {each.member.node_id for each in node.members.roster} == {READER.node_id, WRITER.node_id}


def test_a_bearer_cannot_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "MEMBERS_MAX", 50)
    node = Node()
    node.meets("reader", READER)
    node.meets("writer", WRITER)
    node.hears("writer", *(encode_member(WORLD.member(100 + n, WORLD.token(7)).chain) for n in range(10)))
    passed = 0
    for number in range(300):
        flood = encode_member(WORLD.member(5000 + number, TOKEN).chain)
        passed += len(told(node.hears("reader", flood), "writer"))
    assert passed == membership.CHECK_BURST
    assert len(node.members.roster) == 50
    tokens = [each.member.token for each in node.members.roster]
    assert tokens.count(public(key(7))) == 11, "those of other tokens are kept"
    assert node.members.roster.get(READER.node_id) is not None, "and those that were met"


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    node = Node()
    node.meets("reader", READER)
    node.meets("writer", WRITER)
    later = NOW + 100 * DAY
    assert told(node.hears("reader", encode_member(VICTIM.chain), now=later), "writer")
    assert told(node.hears("reader", encode_member(WORLD.member(14, TOKEN).chain)), "writer")


def test_what_was_remembered_is_known_again() -> None:
    node = Node()
    short = WORLD.member(12, WORLD.token(11, expires=NOW + 60))
    node.members.restore([(READER.chain, NOW - 5), (short.chain, NOW - 5)], NOW + 60)
    assert [(each.member.node_id, each.seen) for each in node.members.roster] == [(READER.node_id, NOW - 5)]
    node.meets("reader", READER)
    node.members.restore([(READER.chain, NOW - 5)], NOW)
    known = node.members.roster.get(READER.node_id)
    assert known is not None
    assert (known.met, known.seen) == (True, NOW)


def test_items_fit_the_wire() -> None:
    fourth = WORLD.member(15, WORLD.token(14, Role.ADMIN, ADMIN))
    assert len(encode_revocation(WORLD.revoke(VICTIM.node_id, fourth))) < NEWS_ITEM_MAX
    assert len(encode_member(fourth.chain)) < NEWS_ITEM_MAX


class Crowd:
    """Nodes joined at random, whose messages take any time but stay in order."""

    def __init__(self, size: int, seed: int) -> None:
        self.draw = random.Random(seed)
        self.people = [WORLD.member(100 + number, TOKEN) for number in range(size)]
        self.nodes = [Node() for _ in self.people]
        self.links: dict[tuple[int, int], deque[Sequence[bytes]]] = {}
        self.messages = 0

    def connect(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            if (here, there) not in self.links and here != there:
                self.links[here, there] = deque()
                self.send(here, self.nodes[here].meets(str(there), self.people[there]))

    def send(self, here: int, outputs: Iterable[Output[str]]) -> None:
        for output in outputs:
            assert isinstance(output, TellNews), output
            self.links[here, int(output.session)].append(output.items)

    def settle(self) -> None:
        while waiting := [link for link, queue in self.links.items() if queue]:
            here, there = self.draw.choice(waiting)
            self.messages += 1
            self.send(there, self.nodes[there].hears(str(here), *self.links[here, there].popleft()))


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_comes_to_know_the_same(seed: int) -> None:
    """Whatever the order, and wherever it was said; and it comes to rest."""
    crowd = Crowd(12, seed)
    for number in range(1, 12):
        crowd.connect(number, crowd.draw.randrange(number))
    strangers = [public(key(5000 + number)) for number in range(8)]
    for victim in strangers:
        here = crowd.draw.randrange(12)
        crowd.send(here, crowd.nodes[here].revokes(WORLD.revoke(victim, crowd.draw.choice([None, ADMIN]))))
        crowd.connect(crowd.draw.randrange(12), crowd.draw.randrange(12))
    crowd.settle()
    digests = {node.members.revocations.digest() for node in crowd.nodes}
    assert len(digests) == 1
    assert all(victim in node.members.revoked for node in crowd.nodes for victim in strangers)
    assert {len(node.members.roster) for node in crowd.nodes} <= {11, 12}
    links = len(crowd.links)
    assert crowd.messages < links * (2 + 12 + 12 + 8), "each item crosses a link a few times at most"


def test_verify_is_of_this_network() -> None:
    chain: Chain = FOREIGN.founder().chain
    with pytest.raises(NotAMember) as caught:
        Node().members.verify(chain, NodeId(chain[-1].subject), NOW)
    assert caught.value.flaw is Flaw.FOREIGN_NETWORK
