"""Whose key a connection proves: certificates, pins, and servers that show what they do not own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from forge_p2p.config import Engine, NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address
from forge_p2p.net.endpoint import QuicEndpoint
from forge_p2p.net.engine import make_engine
from forge_p2p.net.quic import open_endpoint
from forge_p2p.net.tls import Identity, make_identity, node_id_of
from forge_p2p.net.udp import UdpSocket
from tests.net.transports import CLIENT_KEY, LOOPBACK, SERVER_KEY

VICTIM = Ed25519PrivateKey.generate()


def test_the_certificate_is_one_that_others_read() -> None:
    identity = make_identity(SERVER_KEY)
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    certificate.verify_directly_issued_by(certificate)
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert node_id_of(info) == identity.node_id == SERVER_KEY.public_key().public_bytes_raw()
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc.year == 9999


def test_another_kind_of_key_is_no_node() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(PeerError, match="no Ed25519 key"):
        node_id_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    for wrong in (b"", VICTIM.public_key().public_bytes_raw(), make_identity(VICTIM).certificate):
        with pytest.raises(PeerError, match="no Ed25519 key"):
            node_id_of(wrong)


@asynccontextmanager
async def endpoint_as(identity: Identity, engine: Engine) -> AsyncIterator[QuicEndpoint]:
    """An endpoint with whatever identity, right or wrong."""
    config = NetConfig(engine=engine)
    socket = UdpSocket.bind(LOOPBACK)
    try:
        async with trio.open_nursery() as nursery:
            endpoint = QuicEndpoint(socket, make_engine(identity, config), config)
            endpoint.start(nursery)
            yield endpoint
            await endpoint.aclose()
            nursery.cancel_scope.cancel()
    finally:
        socket.close()


@pytest.mark.parametrize("client_engine", list(Engine))
@pytest.mark.parametrize("server_engine", list(Engine))
async def test_a_certificate_without_its_key_is_worth_nothing(client_engine: Engine, server_engine: Engine) -> None:
    """The server shows the victim's certificate, and signs the handshake with its own key."""
    victim = make_identity(VICTIM)
    thief = replace(victim, private_key=make_identity(SERVER_KEY).private_key)
    async with (
        endpoint_as(thief, server_engine) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, NetConfig(engine=client_engine)) as client,
    ):
        with trio.fail_after(30), pytest.raises(PeerError, match="the connection broke"):
            await client.dial(server.address, victim.node_id)


@pytest.mark.parametrize("engine", list(Engine))
async def test_nothing_is_sent_to_the_wrong_node(engine: Engine) -> None:
    """Dialling raises before there is a connection to use, and the server sees no handshake come to its end."""
    config = NetConfig(engine=engine)
    async with (
        open_endpoint(LOOPBACK, SERVER_KEY, config) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, config) as client,
    ):
        with pytest.raises(PeerError, match="is not the node that was asked for"):
            await client.dial(server.address, make_identity(VICTIM).node_id)
        with trio.move_on_after(0.3) as waiting:
            await server.accept()
        assert waiting.cancelled_caught


async def test_a_port_that_is_taken() -> None:
    async with open_endpoint(LOOPBACK, SERVER_KEY, NetConfig()) as server:
        with pytest.raises(PeerError, match=rf"cannot listen on 127\.0\.0\.1 port {server.address.port}"):
            UdpSocket.bind(server.address)
    with pytest.raises(PeerError, match=r"cannot listen on 192\.0\.2\.77"):
        UdpSocket.bind(Address("192.0.2.77", 0))
