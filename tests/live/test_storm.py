"""Everybody comes at once: a storm of streams with Nodes as large as Envoys send them, at a running server."""

import time
from collections.abc import Iterator

import pytest

from tests.bench import processes
from tests.bench.http2 import Load
from tests.bench.meshes import delta_requests, names_of
from tests.bench.served import Served, served
from tests.support.live import eventually

STREAMS = 1_000
IN_TIME = 60.0
"""Seconds in which all of them are served, on the slowest of machines; alone on two cores it takes about three."""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(20, 4, networks=2) as server:
        yield server


@pytest.mark.slow
def test_c37_a_thousand_streams_at_once_are_all_served_and_their_nodes_extensions_are_not_kept(server: Served) -> None:
    *clients, other = server.mesh.strangers(STREAMS + 1)
    names = names_of(other, server.plane.xds)
    assert len(delta_requests(other, names)[0]) > 55_000
    before = processes.private(server.pid)
    load = Load()
    for client in clients:
        server.open(load, client)
        load.step()
    load.run(lambda: all(wire.messages >= 5 for wire in load.wires), IN_TIME)
    load.quiet()
    assert server.streams() == STREAMS
    kept = (processes.private(server.pid) - before) / STREAMS
    assert kept < 100_000, f"{kept:.0f} bytes a stream, all that gRPC keeps among them"
    metrics = server.plane.metrics
    assert metrics("steersman_waiting_streams") == {"": 0.0}
    assert metrics("steersman_stream_wait_seconds_count")[""] >= STREAMS
    assert metrics("steersman_refused_streams_total") == {}
    assert server.plane.get("/ready")[0] == 200
    load.close()
    eventually(lambda: server.streams() == 0)


@pytest.mark.slow
def test_c37_who_is_there_already_is_served_in_a_storm_as_well(server: Served) -> None:
    """A change reaches an old stream while others come in, and the admin address answers; neither waits for the storm's end."""
    first, *clients = server.mesh.strangers(STREAMS + 1)
    old, storm = Load(), Load()
    wire = server.open(old, first)
    old.run(lambda: wire.messages >= 5)
    old.quiet()
    served_before = []
    for number, client in enumerate(clients):
        server.open(storm, client)
        storm.step()
        if number % 250 == 249:
            had = wire.messages
            server.mesh.turn()
            began = time.monotonic()
            while wire.messages == had:
                assert time.monotonic() - began < 10
                old.step()
                storm.step()
            served_before.append(sum(one.messages < 5 for one in storm.wires))
            assert server.plane.get("/ready")[0] == 200
    assert any(served_before), "the storm was over before the change was seen"
    storm.run(lambda: all(one.messages >= 5 for one in storm.wires), IN_TIME)
    for load in (old, storm):
        load.close()
