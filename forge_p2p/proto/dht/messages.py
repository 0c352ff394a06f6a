"""What nodes ask each other about, and what the machine hands to its driver. Keys and targets have 20 bytes."""

from dataclasses import dataclass

from forge_p2p.content.contact import Contact

CONTACTS_MAX = 20
"""Contacts in one answer: k of Kademlia."""
PROVIDERS_MAX = 32
"""Providers in one answer."""


@dataclass(frozen=True, slots=True)
class FindNode:
    """Who is near `target`? Answered by `Nodes`."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Nodes:
    contacts: tuple[Contact, ...]
    """At most `CONTACTS_MAX`, nearest first."""


@dataclass(frozen=True, slots=True)
class FindProviders:
    """Who has `key`? Answered by `Providers`."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Provider:
    contact: Contact
    ttl: int
    """Seconds for which the record will be kept."""


@dataclass(frozen=True, slots=True)
class Providers:
    providers: tuple[Provider, ...]
    """At most `PROVIDERS_MAX`, a random choice if there are more."""
    closer: tuple[Contact, ...]
    """As in `Nodes`."""


@dataclass(frozen=True, slots=True)
class Announce:
    """The sender has `key`, at these addresses. Nobody can say that of another: the message names no node. Answered by
    `Accepted` or `Declined`."""

    key: bytes
    ttl: int
    """Seconds; 0 takes the announcement back."""
    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    pass


@dataclass(frozen=True, slots=True)
class Declined:
    """There is no room for the record."""


Query = FindNode | FindProviders | Announce
Reply = Nodes | Providers | Accepted | Declined


@dataclass(frozen=True, slots=True)
class SendQuery:
    """Ask `contact`, over the session with it or a new one; report by `receive_reply` or `rpc_failed` with `rpc`."""

    rpc: int
    contact: Contact
    message: Query
    timeout: float
    """Seconds after which the answer is of no more use; the machine counts it as failed by itself."""


@dataclass(frozen=True, slots=True)
class ProvidersFound:
    """A lookup heard of providers it had not heard of before. That they have it is somebody's word: try them."""

    lookup: int
    providers: tuple[Provider, ...]


@dataclass(frozen=True, slots=True)
class LookupDone:
    """The last of a lookup, exactly once."""

    lookup: int
    providers: tuple[Provider, ...]
    """All that were found, those that most nodes named first."""
    queries: int
    answers: int
    hops: int
    """Nodes asked one after the other, the last of whom named the first providers; 0 if none did or this node knew."""


Output = SendQuery | ProvidersFound | LookupDone
