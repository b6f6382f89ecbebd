"""One assignment of 1 KB changes, of which thousands of streams are told: from the file's replacement to the last receipt, and what the
server's processor spends on each push and its ACK."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from steersman.ads.messages import Variant
from tests.bench import processes
from tests.bench.bare import PATH as BARE_PATH
from tests.bench.bare import Bare, Sockets, bare
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.served import Served, served

SERVICES, ENDPOINTS = 20, 7
"""An endpoint takes 160 bytes."""
ROUNDS, WARM_UP = 12, 2
PAUSE = 0.1
GREETING = b"\n\x00"
"""What the bare server answers, so that all of its streams are known to be there."""


class Promise(NamedTuple):
    """Milliseconds from the change to the last receipt, and microseconds of processor per push with its ACK."""

    streams: int
    ms: float
    us: float


PROMISES = (Promise(1_000, 200, 150), Promise(5_000, 1_000, 170))


def run() -> Iterator[Figure]:
    for promise in PROMISES:
        yield from fanned_out(promise, Variant.DELTA)
    yield from fanned_out(PROMISES[0], Variant.SOTW)


class Rounds:
    """Of one sender: milliseconds to the last receipt, and microseconds of its processor per push."""

    def __init__(self, load: Load, pid: int, streams: int, send: Callable[[], None]) -> None:
        self.load = load
        self.times: list[float] = []
        self.costs: list[float] = []
        self.sizes: list[float] = []
        self._pid = pid
        self._streams = streams
        self._send = send
        self._number = 0

    def one(self) -> None:
        self._number += 1
        load, expected, taken = self.load, self.load.received + self._streams, self.load.resource_bytes
        used = processes.cpu(self._pid)
        began = time.perf_counter()
        self._send()
        load.run(lambda: load.received >= expected)
        last = load.last
        load.quiet(PAUSE)
        assert load.received == expected, "more came than was to be told"
        if self._number > WARM_UP:
            self.times.append((last - began) * 1e3)
            self.costs.append((processes.cpu(self._pid) - used) / self._streams * 1e6)
            self.sizes.append((load.resource_bytes - taken) / self._streams)


def fanned_out(promise: Promise, variant: Variant) -> list[Figure]:
    with served(SERVICES, ENDPOINTS) as server, bare("grpc") as plain, bare("socket") as sockets:
        loads = connected(server, plain, sockets, promise.streams, variant)
        ours, size = loads[0], 1_024
        rounds = [
            Rounds(ours, server.pid, promise.streams, server.mesh.turn),
            Rounds(loads[1], plain.pid, promise.streams, lambda: plain.send(size)),
            Rounds(loads[2], sockets.pid, promise.streams, lambda: sockets.send(size)),
        ]
        for _ in range(WARM_UP + ROUNDS):
            for each in rounds:
                each.one()
        for load in loads:
            load.close()
    first, *others = rounds
    name = f"{sum(first.sizes) / len(first.sizes) / 1024:.1f} KB to {promise.streams} {variant} streams"
    times = [Reference(title, tuple(each.times)) for title, each in zip(("bare grpc.aio", "a loop of socket.send"), others, strict=True)]
    costs = [Reference(title, tuple(each.costs)) for title, each in zip(("bare grpc.aio", "a loop of socket.send"), others, strict=True)]
    return [
        Figure(name=f"{name}: change to last receipt", values=tuple(first.times), references=tuple(times), target=promise.ms),
        Figure(name=f"{name}: CPU per push with ACK", values=tuple(first.costs), unit="us", references=tuple(costs), target=promise.us),
    ]


def connected(server: Served, plain: Bare, sockets: Bare, streams: int, variant: Variant) -> tuple[Load, Load, Sockets]:
    """So many streams at each."""
    ours, at_plain, at_sockets = Load(), Load(), Sockets()
    for client in server.mesh.strangers(streams):
        server.open(ours, client, variant)
    ours.quiet(1.0)
    while server.streams() < streams:
        ours.quiet(1.0)
    for _ in range(streams):
        at_plain.open(plain.address, BARE_PATH, (GREETING,))
    at_plain.run(lambda: at_plain.received >= streams)  # those who are accepted later than a message is sent would wait for it for ever
    at_sockets.connect(sockets.address, streams, 1_024)
    return ours, at_plain, at_sockets
