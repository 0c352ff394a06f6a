"""Fixtures of the network's tests."""

import pytest

from tests.net.transports import TRANSPORTS, Transport


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport in turn, for the conformance tests."""
    return TRANSPORTS[request.param]()
