"""Streams that come back all at once and have missed nothing: until the last of them has its answers, which hold no resources."""

import time
from collections.abc import Iterator

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from tests.bench.bare import PATH as BARE_PATH
from tests.bench.bare import Bare, bare
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.meshes import Client, Versions, delta_requests
from tests.bench.served import Served, served

SERVICES, ENDPOINTS, STREAMS, ROUNDS = 100, 10, 1_000, 5
ANSWERS = 2
"""That come to each: to its asking for all clusters, and for all listeners."""


def run() -> Iterator[Figure]:
    with served(SERVICES, ENDPOINTS) as server, bare("grpc") as plain:
        clients = list(server.mesh.strangers(STREAMS))
        held = heard(server, clients[0])
        requests = [delta_requests(client, server.names(client), held) for client in clients]
        times, resources, references = [], [], []
        for _ in range(ROUNDS):
            seconds, size = came_back(server, requests)
            times.append(seconds)
            resources.append(size)
            references.append(came_to_bare(plain, requests))
    name = f"{STREAMS} delta streams reconnect unchanged"
    yield Figure(name=f"{name}: bytes of resources", values=tuple(resources), unit="bytes", target=0)
    yield Figure(
        name=f"{name}: to the last answer",
        values=tuple(times),
        unit="s",
        references=(Reference("bare grpc.aio, one answer to each", tuple(references)),),
        target=3,
    )


def heard(server: Served, client: Client) -> Versions:
    """What a proxy comes to hold."""
    held: Versions = {}
    load = Load()
    wire = server.open(load, client)
    wire.heard = lambda raw: _take(held, raw)
    load.quiet(2.0)
    load.close()
    return held


def _take(held: Versions, raw: bytes) -> None:
    response = DeltaDiscoveryResponse.FromString(raw)
    versions = held.setdefault(response.type_url, {})
    for resource in response.resources:
        versions[resource.name] = resource.version
    for name in response.removed_resources:
        versions.pop(name, None)


def came_back(server: Served, requests: list[list[bytes]]) -> tuple[float, float]:
    """Seconds that it took, and bytes of resources that came."""
    while server.streams():
        time.sleep(0.1)
    load = Load()
    began = time.perf_counter()
    for each in requests:
        server.reopen(load, each)
        load.step()
    load.run(lambda: all(wire.messages >= ANSWERS for wire in load.wires))
    taken = load.last - began
    load.quiet(1.0)
    load.close()
    return taken, float(load.resource_bytes)


def came_to_bare(plain: Bare, requests: list[list[bytes]]) -> float:
    """The same requests, of which the first is answered."""
    load = Load()
    began = time.perf_counter()
    for each in requests:
        load.open(plain.address, BARE_PATH, each)
        load.step()
    load.run(lambda: load.received >= len(requests))
    taken = load.last - began
    load.close()
    return taken
