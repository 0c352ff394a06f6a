"""The contacts a node knows: k-buckets of the `kademlia` package, with what is wrong or slow for us replaced.

Theirs: node, bucket, replacement cache, the tree that splits around the own key (and, elsewhere, down to multiples of
five bits, section 4.2 of the paper). Replaced, and why:

- `find_neighbors` walks buckets left and right of the target, which is not the order of XOR distance, and stops at k:
  those it returns need not be the k closest. Ours goes through the buckets in the order of distance.
- The range of the first bucket ends at 2**160, not one before, so that all ranges are off by one and a contact on a
  border is looked for in the wrong bucket. Ours are whole binary subtrees, found by bisection.
- `depth` compares the ids in a bucket as strings of bits, on every contact that finds it full. Ours counts its range.
- Theirs may refuse one of the k nearest to the own key, where these lie in the subtree beside it. Ours splits it.
- Time comes from the caller; a full bucket hands its stalest contact to be probed instead of starting a task.
- Buckets prefer contacts that are not all of one subnet (`subnets`).

Only nodes that proved their id in a session get in. Contacts that others name are for the lookup that heard of them.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import KEY_BITS, KEY_SPACE, key_bytes, node_key
from forge_p2p.proto.dht.subnets import Caps, Entry, Place, place_of, spread

FAILURES_MAX = 2
"""Consecutive ones that cost a contact its place. After the first it is not told to others: datagrams get lost."""


class Peer(Node):  # type: ignore[misc]  # the package has no types
    """A contact with its history: `id` is the node's, `long_id` its key. Times are the caller's."""

    # The attributes of the base class too: without a dictionary each, a table takes half the memory.
    __slots__ = ("contact", "failures", "id", "ip", "long_id", "place", "port", "seen", "since")

    def __init__(self, contact: Contact, now: float) -> None:
        self.contact = contact
        self.id: NodeId = contact.node_id
        self.long_id: int = node_key(contact.node_id)
        self.ip, self.port = contact.addresses[0]
        self.place: Place | None = place_of(self.ip)
        self.since = now
        self.seen = now
        self.failures = 0


class Bucket(KBucket):  # type: ignore[misc]
    """One subtree's contacts, longest known first, and as many replacements, last seen last."""

    nodes: dict[NodeId, Peer]
    replacement_nodes: OrderedDict[NodeId, Peer]
    range: tuple[int, int]
    ksize: int

    def __init__(self, low: int, high: int, ksize: int, now: float) -> None:
        super().__init__(low, high, ksize, replacementNodeFactor=1)
        self.nodes = {}
        self.last_updated = now
        self.quiet_until = 0.0
        """Before this no contact here has been silent for too long."""
        self._entries: list[Entry[Contact]] | None = None

    def touch_last_updated(self, now: float = 0.0) -> None:
        self.last_updated = now

    def depth(self) -> int:
        """Leading bits that all keys of the range share."""
        return KEY_BITS - (self.range[1] - self.range[0]).bit_length()

    def head(self) -> Peer:
        """The contact not heard of for longest."""
        return min(self.nodes.values(), key=lambda peer: peer.seen)

    def entries(self) -> list[Entry[Contact]]:
        """(key, place, contact) of those that did not fail last."""
        if self._entries is None:
            healthy = [peer for peer in self.nodes.values() if not peer.failures]
            self._entries = [(peer.long_id, peer.place, peer.contact) for peer in healthy]
        return self._entries

    def changed(self) -> None:
        """A contact came, went, failed, recovered or moved."""
        self._entries = None

    def split(self) -> "tuple[Bucket, Bucket]":
        low, high = self.range
        middle = (low + high) // 2
        halves = (
            Bucket(low, middle, self.ksize, self.last_updated),
            Bucket(middle + 1, high, self.ksize, self.last_updated),
        )
        for peer in self.nodes.values():
            halves[peer.long_id > middle].nodes[peer.id] = peer
        for peer in self.replacement_nodes.values():
            half = halves[peer.long_id > middle]
            half.replacement_nodes[peer.id] = peer
        return halves


class Table(RoutingTable):  # type: ignore[misc]
    """The routing table of the node with key `own`. `stale`: seconds of silence after which a contact whose place is
    wanted has to show that it is alive."""

    buckets: list[Bucket]
    ksize: int
    node: Node

    def __init__(self, own: int, ksize: int, caps: Caps, stale: float, now: float) -> None:
        self.failing: dict[NodeId, Peer] = {}
        """Contacts that did not answer last."""
        self._caps = caps
        self._stale = stale
        self._started = now
        super().__init__(None, ksize, Node(key_bytes(own)))

    def flush(self) -> None:
        self.buckets = [Bucket(0, KEY_SPACE - 1, self.ksize, self._started)]
        self._lows = [0]
        self._peers: dict[NodeId, Peer] = {}
        self._blocks: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def get(self, node_id: NodeId) -> Peer | None:
        """The contact, if it has a place (replacements have none)."""
        return self._peers.get(node_id)

    def knows(self, node_id: NodeId) -> bool:
        """Whether it has a place, would like one, or is this node."""
        key = node_key(node_id)
        known = node_id in self._peers or node_id in self.bucket_of(key).replacement_nodes
        return known or key == self.node.long_id

    def get_bucket_for(self, node: Node) -> int:
        return bisect_right(self._lows, node.long_id) - 1

    def bucket_of(self, key: int) -> Bucket:
        return self.buckets[bisect_right(self._lows, key) - 1]

    def lonely_buckets(self, before: float = 0.0) -> list[Bucket]:
        """Those in which nothing was looked up since `before`."""
        return [bucket for bucket in self.buckets if bucket.last_updated < before]

    def split_bucket(self, index: int) -> None:
        super().split_bucket(index)
        self._lows.insert(index + 1, self.buckets[index + 1].range[0])
        for bucket in self.buckets[index : index + 2]:
            self._fill(bucket)

    def saw(self, contact: Contact, now: float) -> Peer | None:
        """A node proved to be there, reached at the first of these addresses. Returns a contact that ought to be asked
        whether it still is, because this one would take its place."""
        peer = self._peers.get(contact.node_id)
        if peer is None:
            key = node_key(contact.node_id)
            if not contact.addresses or key == self.node.long_id:
                return None
            self.add_contact(Peer(contact, now))
            return self._silent(self.bucket_of(key), now)
        peer.seen = now
        if peer.failures:
            peer.failures = 0
            del self.failing[contact.node_id]
            self.bucket_of(peer.long_id).changed()
        if peer.contact is not contact and peer.contact != contact:
            self._relocate(peer, contact)
        return None

    def failed(self, node_id: NodeId) -> Peer | None:
        """A node did not answer. Returns the contact if that cost it its place."""
        peer = self._peers.get(node_id)
        if peer is None:
            return None
        peer.failures += 1
        if peer.failures < FAILURES_MAX:
            self.failing[node_id] = peer
            self.bucket_of(peer.long_id).changed()
            return None
        self.remove_contact(peer)
        return peer

    def add_contact(self, node: Peer) -> None:
        """Gives a node a place, or the rank of a replacement."""
        bucket = self.bucket_of(node.long_id)
        if len(bucket.nodes) < self.ksize:
            self._insert(bucket, node)
            return
        if bucket.has_in_range(self.node) or bucket.depth() % 5 or self._is_neighbour(bucket, node.long_id):
            self.split_bucket(self.get_bucket_for(node))
            self.add_contact(node)
            return
        earlier = bucket.replacement_nodes.get(node.id)
        if earlier is not None:
            node.since = earlier.since
        crowded = self._crowded(bucket, node)
        if crowded is None:
            bucket.add_node(node)
            return
        self._take(bucket, crowded)
        self._insert(bucket, node)
        bucket.add_node(crowded)

    def remove_contact(self, node: Peer) -> None:
        bucket = self.bucket_of(node.long_id)
        bucket.replacement_nodes.pop(node.id, None)
        if node.id in bucket.nodes:
            self._take(bucket, node)
            self._fill(bucket)

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Peer]:
        """`nearest`, as peers."""
        contacts = self.nearest(node.long_id, k or self.ksize, None if exclude is None else exclude.long_id)
        return [self._peers[contact.node_id] for contact in contacts]

    def nearest(self, target: int, wanted: int = 0, exclude: int | None = None) -> list[Contact]:
        """The contacts nearest to `target` but the one with key `exclude`, nearest first, spread over subnets. Those
        that failed last are left out; if all have, this node is the one that is cut off, and they are named."""
        wanted = wanted or self.ksize
        near: list[Entry[Contact]] = []
        # Ranges are subtrees, so all of one are nearer to the target than all of another, and any key of a range will
        # do to compare them.
        for _, at in sorted([(low ^ target, at) for at, low in enumerate(self._lows)]):
            near += [(key ^ target, place, one) for key, place, one in self.buckets[at].entries() if key != exclude]
            if len(near) >= wanted:
                near.sort()
                chosen, complete = spread(near, wanted, self._caps)
                if complete:
                    return [one for _, _, one in chosen]
        if not near:
            near = [(peer.long_id ^ target, peer.place, peer.contact) for peer in self if peer.long_id != exclude]
        near.sort()
        return [one for _, _, one in spread(near, wanted, self._caps)[0]]

    def _is_neighbour(self, bucket: Bucket, key: int) -> bool:
        """Whether `key`, of a full bucket, is among the k nearest to the own key: they are all to be known, and may lie
        in a subtree beside the own one (the paper, section 2.4)."""
        own: int = self.node.long_id
        beside = bucket.range[0] ^ own
        room: int = self.ksize
        for low, other in zip(self._lows, self.buckets, strict=True):
            if low ^ own < beside:
                room -= len(other.nodes)
                if room <= 0:
                    return False
        return sum(peer.long_id ^ own < key ^ own for peer in bucket.nodes.values()) < room

    def _silent(self, bucket: Bucket, now: float) -> Peer | None:
        """The contact of a bucket with replacements that has been silent for longest, if that is too long."""
        if now < bucket.quiet_until or not bucket.replacement_nodes:
            return None
        head = bucket.head()
        bucket.quiet_until = head.seen + self._stale
        return head if bucket.quiet_until <= now else None

    def _insert(self, bucket: Bucket, peer: Peer) -> None:
        bucket.nodes[peer.id] = peer
        bucket.changed()
        bucket.replacement_nodes.pop(peer.id, None)
        self._peers[peer.id] = peer
        self._count(peer.place, 1)

    def _take(self, bucket: Bucket, peer: Peer) -> None:
        del bucket.nodes[peer.id]
        bucket.changed()
        del self._peers[peer.id]
        self.failing.pop(peer.id, None)
        self._count(peer.place, -1)

    def _fill(self, bucket: Bucket) -> None:
        """Gives empty places to replacements: those seen last first, those of crowded subnets after all others."""
        while bucket.replacement_nodes and len(bucket.nodes) < self.ksize:
            latest = list(reversed(bucket.replacement_nodes.values()))
            counts = self._counts(bucket)
            fits = (peer for peer in latest if not self._is_full(counts, peer.place, 0))
            self._insert(bucket, next(fits, latest[0]))

    def _relocate(self, peer: Peer, contact: Contact) -> None:
        """A node has moved: what is known of it stays, but for where it is."""
        peer.contact = contact
        self.bucket_of(peer.long_id).changed()
        if contact.addresses:
            self._count(peer.place, -1)
            peer.ip, peer.port = contact.addresses[0]
            peer.place = place_of(peer.ip)
            self._count(peer.place, 1)

    def _crowded(self, bucket: Bucket, newcomer: Peer) -> Peer | None:
        """The youngest contact of subnets that have too many, if `newcomer` is of others."""
        counts = self._counts(bucket)
        if self._is_full(counts, newcomer.place, 0):
            return None
        crowded = [peer for peer in bucket.nodes.values() if self._is_full(counts, peer.place, 1)]
        return max(crowded, key=lambda peer: peer.since, default=None)

    def _counts(self, bucket: Bucket) -> dict[int, int]:
        counts: dict[int, int] = {}
        for peer in bucket.nodes.values():
            for subnet in peer.place or ():
                counts[subnet] = counts.get(subnet, 0) + 1
        return counts

    def _is_full(self, counts: dict[int, int], place: Place | None, counted: int) -> bool:
        """Whether one at `place` is too many, in a bucket with these counts; `counted`: 1 if it is among them."""
        if place is None:
            return False
        (site, block), caps = place, self._caps
        in_table = self._blocks.get(block, 0) - counted
        return (
            counts.get(block, 0) - counted >= caps.block
            or counts.get(site, 0) - counted >= caps.site
            or in_table >= caps.block_in_table
            or (in_table >= caps.site_in_table and self._in_site(site) - counted >= caps.site_in_table)
        )

    def _in_site(self, site: int) -> int:
        return sum(peer.place is not None and peer.place[0] == site for peer in self)

    def _count(self, place: Place | None, by: int) -> None:
        if place is not None:
            block = place[1]
            self._blocks[block] = self._blocks.get(block, 0) + by
            if not self._blocks[block]:
                del self._blocks[block]
