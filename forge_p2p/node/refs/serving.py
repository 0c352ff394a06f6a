"""Members ask about names: what is here is told; what is brought is put, if this node is the home and all is right."""

import logging
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.membership import NotAMember
from forge_p2p.content.ref import BadRef, RefFlaw, decode_record
from forge_p2p.content.refname import fault_of
from forge_p2p.errors import ForgeError, Malformed
from forge_p2p.ids import NetworkId
from forge_p2p.node.refs.homes import NotHome, read_since
from forge_p2p.node.refs.names import Names
from forge_p2p.proto.reflog import Exists
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import REF_RECORDS_BYTES
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict

if TYPE_CHECKING:
    from forge_p2p.node.local import LocalNode
    from forge_p2p.node.sessions.peer import PeerSession

LOG = logging.getLogger("forge")

_READ_ONLY = frozenset({RefFlaw.NOT_A_WRITER, RefFlaw.PROTECTED})


class Clerk:
    """Answers for one node."""

    def __init__(self, node: "LocalNode", names: Names) -> None:
        self._node = node
        self._names = names

    async def asked(self, session: "PeerSession", request_id: int, query: messages.RefQuery) -> None:
        """Answers one question. Raises `PeerError` when the member has gone."""
        if session.member is None:
            return
        network = session.member.network
        try:
            _check(query)
            if isinstance(query, RefPut):
                reply: messages.RefReply = await self._put(session, network, query)
            elif isinstance(query, RefRead):
                reply = await trio.to_thread.run_sync(self._read, network, query)
            else:
                reply = await trio.to_thread.run_sync(self._list, network, query)
        except ForgeError as error:
            code = _code_of(error)
            if code is Code.STORE:
                LOG.error("cannot answer %s about a name: %s", session.where, error)
            reason = "its store fails" if code is Code.STORE else error.message
            await session.finish(request_id, code, reason)
        else:
            await session.reply(request_id, reply)

    async def _put(self, session: "PeerSession", network: NetworkId, query: RefPut) -> RefVerdict:
        record = decode_record(query.record)
        if record.network != network:
            raise BadRef(RefFlaw.FOREIGN, "the record is of another network than the session")
        answer = await self._names.accept(record, session)
        return RefVerdict(answer.record.encode() if isinstance(answer, Exists) else b"")

    def _read(self, network: NetworkId, query: RefRead) -> RefRecords:
        since = read_since(self._node.refs.log(network), query.name, query.from_seq, query.count)
        encoded: list[bytes] = []
        room = REF_RECORDS_BYTES
        for record in since.records:
            data = record.encode()
            room -= len(data)
            if room < 0:
                break
            encoded.append(data)
        return RefRecords(since.tip.seq, since.tip.hash, tuple(encoded))

    def _list(self, network: NetworkId, query: RefList) -> RefNames:
        return RefNames(tuple(self._node.refs.names(network, query.after, query.count)))


def _check(query: messages.RefQuery) -> None:
    """Raises `Malformed` for what cannot be a name."""
    name = query.name if isinstance(query, RefRead) else query.after if isinstance(query, RefList) else ""
    fault = fault_of(name) if name or isinstance(query, RefRead) else ""
    if fault:
        raise Malformed(f"that cannot be a name: {fault}")


def _code_of(error: ForgeError) -> Code:
    if isinstance(error, BadRef):
        return Code.READ_ONLY if error.flaw in _READ_ONLY else Code.REJECTED
    if isinstance(error, NotAMember):
        return Code.DENIED
    if isinstance(error, NotHome):
        return Code.NOT_HOME
    return Code.REJECTED if isinstance(error, Malformed) else Code.STORE
