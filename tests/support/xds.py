"""Resources of a few letters, a mesh of tables, and transcripts: what goes into a stream, what it does, in words that fit a line."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from steersman.ads.delta import DeltaStream
from steersman.ads.messages import Action, DeltaRequested, ErrorDetail, Request, Requested, Send, Variant
from steersman.ads.sotw import SotwStream
from steersman.ads.stream import Stream
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.resources.resource import Resource, of_parts
from steersman.server.connection import Connection
from steersman.snapshot.table import Change, LayeredTable, ResourceTable, Table

TYPES = (CDS, EDS, LDS, RDS, SDS)
BAD = ErrorDetail(13, "it is bad")

R = TypeVar("R", bound=Request)


def resource(name: str, content: str = "1", *, size: int = 0) -> Resource:
    """A resource of that name with this content (and as many bytes more), whose version depends on both."""
    return of_parts(name, (f"{name}={content}".encode(), bytes(size)))


def resources(*specs: str) -> tuple[Resource, ...]:
    """Each as NAME or NAME=CONTENT."""
    return tuple(resource(name, content or "1") for name, _, content in (spec.partition("=") for spec in specs))


def spelled(found: Resource) -> str:
    """The other way round."""
    text = found.body.rstrip(b"\0").decode()
    return text.removesuffix("=1")


def said(actions: Iterable[Action]) -> list[str]:
    """The responses among the actions, as "cds: a b=2 -c !d": what is set, removed and refused; the rest of the actions are left out.

    A heartbeat is "cds: ~ a@VERSION b@VERSION", four characters of each version.
    """
    return [_response(action) for action in actions if isinstance(action, Send)]


def _response(send: Send) -> str:
    response = send.response
    short = {CDS: "cds", EDS: "eds", LDS: "lds", RDS: "rds", SDS: "sds"}.get(response.type_url, response.type_url)
    refused = [name for name, _ in response.refused]
    words = [spelled(found) for found in response.resources]
    words += [f"-{name}" for name in response.removed if name not in refused]
    words += [f"!{name}" for name in refused]
    if response.heartbeat:
        words = ["~", *(f"{found.name}@{found.version[:4]}" for found in response.resources)]
    return " ".join([f"{short}:", *words])


class Told(Protocol):
    """A stream, or the connection around one."""

    def changed(self, type_url: str, changes: Sequence[Change]) -> None: ...


class Mesh:
    """Tables of every type, and the streams that stand at them and are told of every change at once."""

    def __init__(self, ready: bool = True) -> None:
        self.tables = {type_url: ResourceTable(type_url) for type_url in TYPES}
        self.streams: list[Told] = []
        if ready:
            for table in self.tables.values():
                table.replace(())

    @property
    def served(self) -> Mapping[str, Table]:
        """What streams stand at."""
        return self.tables

    def put(self, type_url: str, *specs: str) -> None:
        """Sets these, and lets the others be."""
        self.tell({type_url: self.tables[type_url].apply(resources(*specs))})

    def remove(self, type_url: str, *names: str) -> None:
        self.tell({type_url: self.tables[type_url].apply(remove=names)})

    def only(self, type_url: str, *specs: str, version: str = "") -> None:
        """Makes these the whole content."""
        self.tell({type_url: self.tables[type_url].replace(resources(*specs), version)})

    def declare(self, type_url: str, *names: str) -> None:
        """Says that these are all the names there are; what is new is pending."""
        self.tell({type_url: self.tables[type_url].apply((), names)})

    def wave(self, **of_type: str) -> None:
        """Several types change in one generation: cds="a b=2 -c", rds="..."; each word sets or removes."""
        changes: dict[str, tuple[Change, ...]] = {}
        for short, words in of_type.items():
            type_url = {"cds": CDS, "eds": EDS, "lds": LDS, "rds": RDS, "sds": SDS}[short]
            put = [word for word in words.split() if not word.startswith("-")]
            gone = [word[1:] for word in words.split() if word.startswith("-")]
            changes[type_url] = self.tables[type_url].apply(resources(*put), remove=gone)
        self.tell(changes)

    def tell(self, changes: dict[str, tuple[Change, ...]]) -> None:
        for stream in self.streams:
            for type_url, changed in changes.items():
                stream.changed(type_url, changed)
            if isinstance(stream, Connection):
                stream.wake()

    def client(self, variant: Variant, **options: Any) -> "SotwClient | DeltaClient":
        return self.delta(**options) if variant is Variant.DELTA else self.sotw(**options)

    def sotw(self, **options: Any) -> "SotwClient":
        stream = SotwStream(self.served, **options)
        self.streams.append(stream)
        return SotwClient(stream)

    def delta(self, **options: Any) -> "DeltaClient":
        stream = DeltaStream(self.served, **options)
        self.streams.append(stream)
        return DeltaClient(stream)


class OnDemand(Mesh):
    """Beside the clusters that a wildcard covers there are those in `named`, which are had by name only."""

    def __init__(self) -> None:
        super().__init__()
        self.named = ResourceTable(CDS, by_name=True)
        self.named.replace(())
        self.clusters = LayeredTable([self.named, self.tables[CDS]])

    @property
    def served(self) -> Mapping[str, Table]:
        return {**self.tables, CDS: self.clusters}

    def demand(self, *put: Resource, gone: Iterable[str] = ()) -> None:
        """Sets and removes some that are had by name only."""
        self.tell({CDS: self.named.apply(put, remove=gone)})


class Client(Generic[R]):
    """The other end of a stream. `says` what the stream does; `acks` and `nacks` the last response of a type."""

    def __init__(self, stream: Stream[R]) -> None:
        self.stream = stream
        self.now = 0.0
        self.nonces: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.last: list[Action] = []
        self.last_said = ""

    def took(self, actions: Sequence[Action]) -> list[str]:
        self.last = list(actions)
        for action in actions:
            if isinstance(action, Send):
                self.nonces[action.response.type_url] = action.nonce
                self.versions[action.response.type_url] = action.response.version
        words = said(actions)
        self.last_said = words[-1] if words else self.last_said
        return words

    def sends(self, request: R) -> list[str]:
        """The responses to this request."""
        return self.took(self.stream.receive(request, self.now))

    def gets(self, after: float = 0.0) -> list[str]:
        """The responses that are pushed, `after` some seconds."""
        self.now += after
        return self.took(self.stream.pump(self.now))


class SotwClient(Client[Requested]):
    """Its `confirms` and `drops` keep the names in mind, as clients do."""

    def __init__(self, stream: Stream[Requested]) -> None:
        super().__init__(stream)
        self.names: dict[str, tuple[str, ...]] = {}

    def asks(self, type_url: str, *names: str, nonce: str = "", version: str = "", error: ErrorDetail | None = None) -> list[str]:
        self.names[type_url] = names
        return self.sends(Requested(type_url, names, version=version, nonce=nonce, error=error))

    def acks(self, type_url: str, *names: str, error: ErrorDetail | None = None) -> list[str]:
        """Answers the last response with the names subscribed."""
        return self.asks(type_url, *names, nonce=self.nonces[type_url], version=self.versions[type_url], error=error)

    def nacks(self, type_url: str, *names: str, text: str = BAD.text) -> list[str]:
        return self.acks(type_url, *names, error=ErrorDetail(13, text))

    def confirms(self, type_url: str, error: ErrorDetail | None = None) -> list[str]:
        return self.acks(type_url, *self.names[type_url], error=error)

    def drops(self, type_url: str, *names: str) -> list[str]:
        return self.asks(type_url, *(name for name in self.names[type_url] if name not in names), nonce="another")


class DeltaClient(Client[DeltaRequested]):
    def asks(self, type_url: str, *names: str, minus: Sequence[str] = (), holding: dict[str, str] | None = None) -> list[str]:
        """Subscribes (and unsubscribes); `holding`: initial_resource_versions."""
        return self.sends(DeltaRequested(type_url, names, tuple(minus), holding or {}))

    def acks(self, type_url: str, *, error: ErrorDetail | None = None) -> list[str]:
        return self.sends(DeltaRequested(type_url, nonce=self.nonces[type_url], error=error))

    def nacks(self, type_url: str, text: str = BAD.text) -> list[str]:
        return self.acks(type_url, error=ErrorDetail(13, text))

    def confirms(self, type_url: str, error: ErrorDetail | None = None) -> list[str]:
        return self.acks(type_url, error=error)

    def drops(self, type_url: str, *names: str) -> list[str]:
        return self.asks(type_url, minus=names)
