"""From a request's credentials to what it may have: a signature, a token, or what is public."""

import time
from dataclasses import dataclass, field
from typing import Final

from forge_edge.access.keys import Keys
from forge_edge.access.signing import is_signed, require_signature
from forge_edge.access.tokens import GatewayToken, Revoked, read_token
from forge_p2p.errors import Refused
from forge_p2p.node.home import Home
from forge_p2p.node.membership.networks import Joined, Networks
from forge_p2p.node.records import stamp_of

_REFRESH: Final = 1.0
"""Seconds for which keys, revocations and networks are believed unchanged."""

_TOKENS_REMEMBERED: Final = 4096


class Unauthorized(Exception):
    """No credential, or none that is good: 401, whatever was asked for."""


class Forbidden(Exception):
    """A signed URL that is not, or not any more: 403, whatever was asked for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`networks`: what may be read, by network; `names`: what a name stands for, by pattern. `unbounded`: one path was
    signed by the operator, wherever it leads. `who` is for limits and the log. `scope`: by whose right, for what is
    remembered of answers: what one network's readers get is no other's."""

    who: str
    networks: tuple[Joined, ...] = ()
    names: tuple[tuple[Joined, str], ...] = ()
    write: bool = False
    unbounded: bool = False
    scope: str = field(init=False)

    def __post_init__(self) -> None:
        networks = ",".join(each.network.hex() for each in self.networks)
        object.__setattr__(self, "scope", f"{self.who == 'anonymous'};{networks}")

    @property
    def visible(self) -> tuple[Joined, ...]:
        """Networks of which at least a name may be read."""
        found = {each.network: each for each in (*self.networks, *(each for each, _ in self.names))}
        return tuple(found.values())

    def reads_name(self, joined: Joined, name: str) -> bool:
        """Whether what this name stands for may be read."""
        return any(each.network == joined.network for each in self.networks) or any(
            each.network == joined.network and _fits(pattern, name) for each, pattern in self.names
        )


class Access:
    """Who may have what at one gateway, as its folder says now."""

    def __init__(self, home: Home, public: tuple[str, ...]) -> None:
        self._home = home
        self._public = public
        self._networks = Networks.on_disk(home)
        self._revoked_file = Revoked(home)
        self._keys = Keys(home)
        self._revoked: frozenset[bytes] = frozenset()
        self._tokens: dict[str, tuple[GatewayToken, Grant]] = {}
        self._stamps: tuple[object, ...] = ()
        self._checked = -_REFRESH
        self.joined: tuple[Joined, ...] = ()
        self._anonymous = Grant("anonymous")
        self.refresh()

    def refresh(self, *, now: bool = False) -> bool:
        """Reads again what has changed, looking for that once in a while, or `now`; whether anything had. Blocks for a
        moment. Raises `StoreError`: then nobody is let in."""
        moment = time.monotonic()
        if not now and moment - self._checked < _REFRESH:
            return False
        self._checked = -_REFRESH  # until all of it was read
        stamps = (stamp_of([self._keys.folder, self._revoked_file.path]), self._networks.stamp())
        changed = stamps != self._stamps
        if changed:
            # All or nothing: what cannot be read now is not believed unchanged, but read again for the next request.
            keys, revoked, joined = Keys(self._home), self._revoked_file.ids(), tuple(self._networks.all())
            self._keys, self._revoked, self.joined = keys, revoked, joined
            self._tokens.clear()
            self._anonymous = self._public_grant()
        self._stamps, self._checked = stamps, moment
        return changed

    def grant(self, method: str, path: str, query: dict[str, str], authorization: str) -> Grant:
        """What a request may have. Raises `Unauthorized` or `Forbidden`, without having looked at what it asks for."""
        self.refresh()
        try:
            return self._grant(method, path, query, authorization)
        except (Unauthorized, Forbidden):
            if not self.refresh(now=True):  # what was issued a moment ago is good at once
                raise
        return self._grant(method, path, query, authorization)

    def _grant(self, method: str, path: str, query: dict[str, str], authorization: str) -> Grant:
        if is_signed(query):
            try:
                require_signature(self._keys, method, path, query)
            except Refused:
                raise Forbidden from None
            return self._signed(method, query.get("network", ""))
        if authorization:
            return self._bearer(authorization)
        if not self._anonymous.networks and not self._anonymous.names:
            raise Unauthorized
        return self._anonymous

    def _signed(self, method: str, network: str) -> Grant:
        """What a signature that is good gives: an upload goes into the network that was signed, or the only one."""
        if method != "PUT":
            return Grant("signed", self.joined, unbounded=True)
        into = tuple(each for each in self.joined if not network or each.network.hex() == network)
        return Grant("signed", into if len(into) == 1 else (), write=True)

    def _bearer(self, authorization: str) -> Grant:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized
        token, grant = self._tokens.get(text) or self._remembered(text)
        if token.expires and token.expires <= time.time():
            raise Unauthorized
        return grant

    def _remembered(self, text: str) -> tuple[GatewayToken, Grant]:
        try:
            token = read_token(self._keys, self._revoked, text.strip())
        except Refused:
            raise Unauthorized from None
        mine = tuple(each for each in self.joined if each.network == token.network)
        if len(self._tokens) >= _TOKENS_REMEMBERED:
            self._tokens.clear()
        found = self._tokens[text] = token, Grant(f"token {token.id.hex()}", mine, write=token.write)
        return found

    def _public_grant(self) -> Grant:
        whole: list[Joined] = []
        names: list[tuple[Joined, str]] = []
        for text in self._public:
            network, slash, pattern = text.partition("/")
            found = [each for each in self.joined if each.name == network]
            if slash:
                names += [(each, pattern) for each in found]
            else:
                whole += found
        return Grant("anonymous", tuple(whole), tuple(names))


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
