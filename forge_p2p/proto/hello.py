"""The hello: who offers what, which version it becomes, and what each role needs to get through it."""

from dataclasses import dataclass

from forge_p2p.ids import NodeId
from forge_p2p.proto.auth import NOTHING, Authorizer, Scope, Sign, proof_holds, proof_text
from forge_p2p.proto.outputs import Ready
from forge_p2p.proto.states import Breach
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Hello, Proof, printable

NETWORK = "network"
"""Capability: the node answers members of its networks about nodes, providers and holdings."""

STAYS = "dht"
"""Capability: the node stays, so it is worth remembering. Who does not stay uses the DHT and is no part of it."""

REFS = "refs"
"""Capability: the node answers members about names, and hears of their heads."""

SETS = "sets"
"""Capability: the node answers members about what it has, by summaries and by reconciling."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a node says of itself, and its patience in seconds."""

    agent: str = "forge"
    capabilities: frozenset[str] = frozenset()
    max_requests: int = 64
    """Requests of the peer answered at once."""
    hello_timeout: float = 10.0
    stall_timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class ClientRole:
    """`server_id` is what TLS proved. `scope` is what the server may ask of this node; `None`: its requests and news
    wait until `Session.grant`, because what it shows in WELCOME has to be looked at first."""

    node_id: NodeId
    server_id: NodeId
    sign: Sign
    credentials: bytes = b""
    scope: Scope | None = NOTHING


@dataclass(frozen=True, slots=True)
class ServerRole:
    """`nonce`: 32 bytes, fresh for each connection, from a cryptographic generator."""

    node_id: NodeId
    nonce: bytes
    authorizer: Authorizer


Role = ClientRole | ServerRole


def client_hello(role: ClientRole, config: SessionConfig) -> Hello:
    return _hello(role.node_id, config, limits.VERSION, b"")


def server_hello(role: ServerRole, config: SessionConfig, version: int) -> Hello:
    return _hello(role.node_id, config, version, role.nonce)


def common_version(offer: Hello) -> int | None:
    """The version to speak with a client, or `None`."""
    return limits.VERSION if offer.first_version <= limits.VERSION <= offer.last_version else None


def check_challenge(role: ClientRole, hello: Hello) -> None:
    """What a server's hello has to be. Raises `Breach`."""
    if not hello.first_version == hello.last_version == limits.VERSION:
        raise Breach(Code.VERSION, f"the server chose version {hello.last_version}, which was not offered")
    if hello.node_id != role.server_id:
        raise Breach(Code.IDENTITY, "the server's hello names another node than its certificate")
    if len(hello.nonce) != limits.NONCE_SIZE:
        raise Breach(Code.MALFORMED, f"a nonce has {limits.NONCE_SIZE} bytes, not {len(hello.nonce)}")


def make_proof(role: ClientRole, nonce: bytes) -> Proof:
    return Proof(role.sign(proof_text(role.server_id, nonce, role.node_id)))


def check_proof(role: ServerRole, client_id: NodeId, proof: Proof) -> bool:
    return proof_holds(role.node_id, role.nonce, client_id, proof.signature)


def ready(hello: Hello, config: SessionConfig, credentials: bytes) -> Ready:
    """What both ends agreed on, seen from the receiver of `hello` and `credentials`."""
    return Ready(
        NodeId(hello.node_id),
        printable(hello.agent),
        limits.VERSION,
        config.capabilities.intersection(hello.capabilities),
        hello.max_requests,
        credentials,
    )


def _hello(node_id: NodeId, config: SessionConfig, version: int, nonce: bytes) -> Hello:
    return Hello(
        first_version=version,
        last_version=version,
        capabilities=tuple(sorted(config.capabilities)),
        node_id=node_id,
        agent=config.agent[: limits.AGENT_CHARS],
        max_requests=config.max_requests,
        nonce=nonce,
    )
