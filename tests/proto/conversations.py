"""What members of a network say to each other in tests of sessions."""

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import (
    Announce,
    Done,
    FindNode,
    FindProviders,
    Follow,
    Nodes,
    Providers,
    Query,
    Reply,
)

KEY = bytes(range(20))
ROOT = bytes(range(32, 64))
SOMEBODY = Contact(NodeId(bytes(range(32))), (("192.0.2.1", 4433),))
FOLLOW = Follow.of(ROOT, (("192.0.2.7", 7),), True)
CONVERSATIONS: list[tuple[Query, Reply]] = [
    (FindNode(KEY), Nodes.of([SOMEBODY])),
    (FindProviders(KEY), Providers.of([(SOMEBODY, 60)], [SOMEBODY])),
    (Announce.of(KEY, 600, SOMEBODY.addresses), Done(Code.OK, "")),
]
"""Each question of the DHT, and an answer."""
