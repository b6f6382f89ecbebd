"""What is fuzzed: the way from a client's bytes to what the server does, at tables that change; and what must hold on it whatever comes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryResponse

from steersman.ads import codec
from steersman.ads.delta import DeltaStream
from steersman.ads.messages import Action, Close, Send, Variant
from steersman.ads.sotw import SotwStream
from steersman.errors import ProtocolError
from steersman.model.limits import Limits
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS, LDS, RDS, SDS
from tests.support.xds import Mesh

T = TypeVar("T")

TYPES: Final = (CDS, EDS, LDS, RDS, SDS)
NAMES: Final = ("a", "b", "c", "d")
LIMITS: Final = Limits(names=64, name_length=256, types=8)
MOST_OF_A_PROXY: Final = 4_000_000
"""Characters that are remembered of what a client says of itself, at the very most."""
PER_UNIT: Final = 400
"""Lines of Python that a request may cost for each thing in it, and each thing that the stream or its tables have."""
AT_LEAST: Final = 5_000


class Subject:
    """A client's stream, from its first bytes on. `closed`: it was ended, by a status."""

    def __init__(self, variant: Variant, *, measured: bool = False) -> None:
        self.variant = variant
        self.mesh = Mesh()
        for type_url in TYPES:
            self.mesh.only(type_url, "a", "b=1")
        self.stream: Any = None
        self.closed = False
        self.now = 0.0
        self.nonces: dict[str, str] = {}
        self._open: set[str] = set()
        self._measured = measured

    # -- what comes in --------------------------------------------------------------------------------------------------------

    def says(self, raw: bytes) -> None:
        """The client sends this."""
        if self.closed:
            return
        try:
            if self.stream is None:
                self._took(self._at_most(len(raw), lambda: self._opened(raw)))
            else:
                self._took(self._at_most(len(raw), lambda: self._received(raw)))
        except ProtocolError as error:
            self._ended(Close(error.code, str(error)))
        self.check()

    def _opened(self, raw: bytes) -> Sequence[Action]:
        opening = codec.opening(self.variant, raw, "ipv4:192.0.2.1:4711")
        assert_bounded(opening.proxy)
        kind = DeltaStream if self.variant is Variant.DELTA else SotwStream
        self.stream = kind(self.mesh.tables, node_id=opening.request.node_id, limits=LIMITS, largest=opening.largest)
        self.mesh.streams.append(self.stream)
        return self._answered(opening.request)

    def _received(self, raw: bytes) -> Sequence[Action]:
        request = codec.delta_requested(raw) if self.variant is Variant.DELTA else codec.requested(raw)
        if self.variant is Variant.DELTA:
            assert request == codec._delta_requested(DeltaDiscoveryRequest.FromString(raw)), "by whatever way it was decoded"
        return self._answered(request)

    def _answered(self, request: Any) -> Sequence[Action]:
        if request.nonce == self.nonces.get(request.type_url):
            self._open.discard(request.type_url)
        actions: Sequence[Action] = self.stream.receive(request, self.now)
        if not self.stream.closed and request.type_url in self._open and self._inflight(request.type_url) is None:
            self._open.discard(request.type_url)  # it no longer wants anything of the type, and may not answer
        return actions

    def changes(self, choice: int) -> None:
        """A table changes, and the stream is pumped, in one of so many ways."""
        type_url = TYPES[choice % 5]
        name = NAMES[choice // 5 % 4]
        match choice // 20 % 5:
            case 0:
                self.mesh.put(type_url, f"{name}={choice // 100 % 3}")
            case 1:
                self.mesh.remove(type_url, name)
            case 2:
                self.mesh.declare(type_url, *NAMES[: choice // 100 % 5])
            case 3:
                self.mesh.only(type_url, *NAMES[choice // 100 % 5 :])
            case _:
                self.now += (0.5, 6.0, 16.0)[choice // 100 % 3]
        if self.stream is not None and not self.closed:
            self._took(self._at_most(0, lambda: self.stream.pump(self.now)))
            self.check()

    def _took(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Close):
                self._ended(action)
            elif isinstance(action, Send):
                self._sent(action)

    def _sent(self, send: Send) -> None:
        response = send.response
        assert response.type_url not in self._open, "one response of a type at a time"
        raw = codec.encode(send)
        decoded = (DeltaDiscoveryResponse if self.variant is Variant.DELTA else DiscoveryResponse).FromString(raw)
        assert decoded.SerializeToString(deterministic=True) == raw
        assert decoded.nonce == send.nonce
        names = [found.name for found in response.resources]
        assert names == sorted(set(names))
        assert not set(names) & set(response.removed)
        assert send.nonce not in self.nonces.values()
        self.nonces[response.type_url] = send.nonce
        self._open.add(response.type_url)

    def _ended(self, close: Close) -> None:
        assert close.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"), close
        assert len(close.text) < 2_000, "words, not an echo"
        self.closed = True

    def _inflight(self, type_url: str) -> Any:
        channel = self.stream._channels.get(type_url)
        return channel.inflight if channel is not None else None

    # -- what must hold -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Nothing is kept but what the limits and the tables allow; and looking at it costs nothing."""
        if self.stream is None:
            return
        self.stream.status()
        self.stream.deadline()
        assert len(self.stream._channels) <= LIMITS.types
        for channel in self.stream._channels.values():
            assert len(channel.names) <= LIMITS.names
            assert all(len(name) <= LIMITS.name_length for name in channel.names)

    def kept(self) -> int:
        """How many things are kept for the stream, in all its containers."""
        return sum(sized(channel) for channel in self.stream._channels.values()) if self.stream is not None else 0

    def _at_most(self, size: int, work: Callable[[], T]) -> T:
        """Does it, and counts the lines that it takes: no more than goes with the size of the request and of what there is."""
        if not self._measured:
            return work()
        there = self.kept() + sum(len(list(table.names())) for table in self.mesh.tables.values())
        lines = 0

        def count(frame: Any, event: str, argument: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            return work()
        finally:
            sys.settrace(before)
            assert lines <= AT_LEAST + PER_UNIT * (size // 2 + there), f"{lines} lines for {size} bytes where there are {there} things"


def sized(channel: Any) -> int:
    """How many entries a channel's containers have."""
    found = (getattr(channel, name, None) for name in type(channel).__slots__)
    return sum(len(one) for one in found if isinstance(one, dict | frozenset | set | list | tuple))


def assert_bounded(proxy: Proxy) -> None:
    """What is remembered of a client."""
    assert sum(map(len, texts(proxy))) <= MOST_OF_A_PROXY


def texts(value: Any) -> Iterator[str]:
    """All of them in a value of ours."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | frozenset | list):
        for item in value:
            yield from texts(item)
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            yield from texts(getattr(value, name))


def plays(data: bytes) -> Subject:
    """Plays bytes as a client and a mesh: the first says which variant, then comes one piece after the other, each with its size before it;
    an empty piece is a change of a table, said by two more bytes."""
    subject = Subject(Variant.DELTA if data[:1] and data[0] & 1 else Variant.SOTW)
    at = 1
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if size:
            subject.says(data[at : at + size])
            at += size
        else:
            subject.changes(int.from_bytes(data[at : at + 2], "big"))
            at += 2
    return subject


def piece(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


def change(choice: int) -> bytes:
    return b"\0\0" + choice.to_bytes(2, "big")
