"""Everybody reconnects at once, with nothing to say that they hold: until the last one has all, and what it costs those that were there.

A listener in a process of its own, connected before, subscribes to the endpoints that change twice a second; those of the storm don't, so
that their pushes are no part of it.
"""

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from steersman.ads.messages import Variant
from steersman.names import EDS
from tests.bench.bare import PATH as BARE_PATH
from tests.bench.bare import bare
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.meshes import Client, Names, delta_requests, names_of
from tests.bench.processes import cpu
from tests.bench.served import PATHS, Served, served

SERVICES, ENDPOINTS, STREAMS = 100, 10, 5_000
ANSWERS = 5
"""Responses that one needs: clusters, endpoints, listeners, routes, secrets."""
EVERY = 0.5
"""Seconds from one change to the next."""
QUIET = 20
"""Changes before the storm."""
CHANGED = "outbound|80||service-0."


def run() -> Iterator[Figure]:
    with served(SERVICES, ENDPOINTS) as server, bare("grpc") as plain:
        *clients, old = server.mesh.strangers(STREAMS + 1)
        names = names_of(old, server.plane.xds)
        listener = Listener(server, delta_requests(old, names))
        for _ in range(QUIET):
            listener.change()
            time.sleep(EVERY)
        before = listener.latencies()
        used = cpu(server.pid)
        load, seconds = storm(server, clients, {**names, EDS: [name for name in names[EDS] if not name.startswith(CHANGED)]}, listener)
        used = cpu(server.pid) - used
        during = listener.latencies()
        assert server.streams() == STREAMS + 1
        load.close()
        listener.close()
        reference = Load()
        began = time.perf_counter()
        for client in clients:
            reference.open(plain.address, BARE_PATH, delta_requests(client, {}))
            reference.step()
        reference.run(lambda: reference.received >= len(clients))
        at_bare = reference.last - began
        reference.close()
    name = f"storm of {STREAMS} streams that hold nothing"
    yield Figure(
        name=f"{name}: to the last answer of all types",
        values=(seconds,),
        unit="s",
        references=(Reference("bare grpc.aio, one answer to each", (at_bare,)),),
    )
    yield Figure(name=f"{name}: CPU of the server a stream", values=(used / STREAMS * 1e6,), unit="us")
    yield Figure(name=f"{name}: a change to one that was there", values=during, references=(Reference("before the storm", before),))


def storm(server: Served, clients: list[Client], names: Names, listener: "Listener") -> tuple[Load, float]:
    """All of them, as fast as they can be opened; the seconds until each has everything."""
    load = Load()
    requests = [delta_requests(client, names) for client in clients]
    began = changed = time.perf_counter()

    def on() -> None:
        nonlocal changed
        if time.perf_counter() - changed > EVERY:
            changed = time.perf_counter()
            listener.change()

    for one in requests:
        load.open(server.address, PATHS[Variant.DELTA], one)
        load.step()
        on()
    unserved = dict.fromkeys(load.wires)
    while unserved:
        load.run(lambda: time.perf_counter() - changed > EVERY or load.received >= ANSWERS * len(clients), 600)
        on()
        for wire in [wire for wire in unserved if wire.messages >= ANSWERS]:
            del unserved[wire]
    return load, load.last - began


class Listener:
    """A stream in a process of its own, that notes when something comes in."""

    def __init__(self, server: Served, requests: list[bytes]) -> None:
        context = multiprocessing.get_context("spawn")
        self._server = server
        self._times: list[float] = []
        self._here, there = context.Pipe()
        self._end = context.Event()
        arguments = (server.address, PATHS[Variant.DELTA], requests, there, self._end)
        self._process = context.Process(target=_listen, args=arguments, daemon=True)
        self._process.start()
        self._here.recv()

    def change(self) -> None:
        self._times.append(time.perf_counter())
        self._server.mesh.turn()

    def latencies(self) -> tuple[float, ...]:
        """Milliseconds of every change since this was asked last; one that was overtaken took as long as that which overtook it."""
        time.sleep(5)
        heard = []
        while self._here.poll(0):
            heard.append(self._here.recv())
        found = [next(at for at in heard if at > time) - time for time in self._times]
        self._times.clear()
        return tuple(seconds * 1000 for seconds in found)

    def close(self) -> None:
        self._end.set()
        self._process.join()


def _listen(address: tuple[str, int], path: bytes, requests: list[bytes], to: Connection, end: Event) -> None:
    load = Load()
    wire = load.open(address, path, requests)
    load.run(lambda: wire.messages >= ANSWERS)
    load.quiet(0.5)
    to.send(None)
    wire.heard = lambda raw: to.send(time.perf_counter())
    while not end.is_set():
        load.step(0.05)
    load.close()
