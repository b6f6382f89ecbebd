"""What passes the border of a stream: decoded requests in, actions out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

from steersman.names import CDS, LDS
from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused, resource_size

WILDCARD = "*"
"""The name that stands for all there are."""

FULL_STATE = frozenset((CDS, LDS))
"""Types of which a state-of-the-world response holds everything subscribed, since what is absent from it is deleted. They alone know the
legacy wildcard: a first request without names."""


class Variant(StrEnum):
    """State of the world, or delta (incremental)."""

    SOTW = "sotw"
    DELTA = "delta"


class ErrorDetail(msgspec.Struct, frozen=True):
    """Why a client refused a response. `code`: a google.rpc.Code; `text`: its words."""

    code: int
    text: str


class Requested(msgspec.Struct, frozen=True):
    """A DiscoveryRequest. `names`: the whole subscription. `error`: there if and only if it is a NACK. `node_id`: "" if absent."""

    type_url: str
    names: tuple[str, ...] = ()
    version: str = ""
    nonce: str = ""
    error: ErrorDetail | None = None
    node_id: str = ""


class DeltaRequested(msgspec.Struct, frozen=True):
    """A DeltaDiscoveryRequest. `initial`: initial_resource_versions, by name."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = {}
    nonce: str = ""
    error: ErrorDetail | None = None
    node_id: str = ""


Request = Requested | DeltaRequested


class Spliced(NamedTuple):
    """A response's bytes but for its nonce. `before` it: in pieces as long as only one stream was sent them, then in one."""

    before: tuple[bytes, ...]
    after: bytes


@dataclass(slots=True, weakref_slot=True)
class Response:
    """A response but for its nonce: the same object on every stream that is sent the same, so that its bytes are made once.

    `resources`, `removed` and `refused` are each sorted by name; in delta, what is refused is among the removed as well, for clients that
    ignore errors. `ttl`: seconds that the client keeps the resources, 0 for ever. `heartbeat`: the resources go without their bodies, which
    the client has. `size`: bytes of the resources. `spliced`: once the codec has made it.
    """

    variant: Variant
    type_url: str
    version: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[tuple[str, Refused], ...] = ()
    ttl: float = 0.0
    heartbeat: bool = False
    size: int = field(init=False, repr=False, compare=False)
    spliced: Spliced | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.size = 0 if self.heartbeat else sum(map(resource_size, self.resources))


class Send(msgspec.Struct, frozen=True):
    """Write this response."""

    nonce: str
    response: Response


class Acked(msgspec.Struct, frozen=True):
    """The client applied the response of this version."""

    type_url: str
    version: str


class Nacked(msgspec.Struct, frozen=True):
    """The client refused the response of this version, or part of it.

    `names`: the resources of the response that the client's words mention; if they mention none, all of them. `versions`: theirs.
    """

    type_url: str
    version: str
    names: tuple[str, ...]
    error: ErrorDetail
    versions: tuple[str, ...] = ()


class Stale(msgspec.Struct, frozen=True):
    """A request with a nonce that isn't the one last sent: its subscription was honoured, but it is no ACK and no NACK."""

    type_url: str
    nonce: str


class Subscribed(msgspec.Struct, frozen=True):
    """The subscription is now this; what of it is pending is to be computed. None: all that a wildcard covers, and besides it `named`,
    which it covers or not."""

    type_url: str
    names: frozenset[str] | None
    named: frozenset[str] = frozenset()


class Withheld(msgspec.Struct, frozen=True):
    """A resource of so many bytes that this client would drop the stream over it; it was told of an error instead."""

    type_url: str
    name: str
    size: int


class Warms(msgspec.Struct, frozen=True):
    """The client warms these clusters once it has read what was sent before this. Where it has their endpoints by another stream, they are
    to follow there (`Stream.warm`)."""

    clusters: tuple[str, ...]


class NodeChanged(msgspec.Struct, frozen=True):
    """The client named another node than at the start of the stream; the first one holds."""

    node_id: str


class Close(msgspec.Struct, frozen=True):
    """End the stream with this gRPC status (its name, such as UNAVAILABLE). Nothing follows."""

    code: str
    text: str


Action = Send | Acked | Nacked | Stale | Subscribed | Withheld | Warms | NodeChanged | Close
