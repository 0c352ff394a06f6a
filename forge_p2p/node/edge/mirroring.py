"""The records of a name beside its content in the bucket, for whom its home is gone (`bucket.mirrors`)."""

from forge_p2p.bucket.mirrors import Mirrors, at_home
from forge_p2p.node.edge.naming import named_here
from forge_p2p.node.local import LocalNode


def mirror_log(node: LocalNode, what: str, in_network: str) -> int:
    """Copies what the bucket lacks of a name's log, as it is known here, where every record was verified when it came;
    how many records that were. What is there as in its home is not copied. Blocks. Raises `UsageError`,
    `BucketError`."""
    named = named_here(node, what, in_network)
    head = node.refs.head(named.network, named.name)
    if head is None:
        return 0
    edge = node.edge
    there = at_home(edge.bucket, named.network, named.name) if head.home == edge.node_id else set()
    records = node.refs.range(named.network, named.name, 1, head.seq)
    return Mirrors(edge.bucket, named.network).keep([record for record in records if record.seq not in there])
