"""Questions that one frame answers: which does, and how often they may be asked."""

from collections.abc import Mapping

from forge_p2p.proto.timers import TokenBucket
from forge_p2p.wire.messages import (
    Announce,
    Done,
    FindNode,
    FindProviders,
    Nodes,
    Providers,
    Query,
    RefQuery,
    Reply,
)
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict
from forge_p2p.wire.sets import Reconcile, Reconciled, SummaryQuery, SummaryTold

QUERY_RATE = 32.0
QUERY_BURST = 64.0
"""Queries a second from one peer: those of the DHT, those about names, and reconciling, each; more are answered with
`Code.BUSY`."""

SUMMARY_RATE = 0.2
SUMMARY_BURST = 8.0
"""Questions for a summary a second: an answer may have more than a megabyte."""

REPLIES: Mapping[type[Query], type[Reply]] = {
    FindNode: Nodes,
    FindProviders: Providers,
    Announce: Done,
    RefPut: RefVerdict,
    RefRead: RefRecords,
    RefList: RefNames,
    SummaryQuery: SummaryTold,
    Reconcile: Reconciled,
}


class Patience:
    """With one peer's questions."""

    def __init__(self) -> None:
        self._dht = TokenBucket.full(QUERY_RATE, QUERY_BURST)
        self._names = TokenBucket.full(QUERY_RATE, QUERY_BURST)
        self._reconciling = TokenBucket.full(QUERY_RATE, QUERY_BURST)
        self._summaries = TokenBucket.full(SUMMARY_RATE, SUMMARY_BURST)

    def lasts(self, query: Query, now: float) -> bool:
        """Whether this one is answered."""
        bucket = self._dht
        if isinstance(query, RefQuery):
            bucket = self._names
        elif isinstance(query, Reconcile):
            bucket = self._reconciling
        elif isinstance(query, SummaryQuery):
            bucket = self._summaries
        return bucket.try_take(1.0, now)
