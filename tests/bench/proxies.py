"""What the server holds for a mesh of some size with all its proxies connected: memory of its process."""

from collections.abc import Iterator

from tests.bench import processes
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.served import served

SERVICES, ENDPOINTS, NETWORKS, PROXIES = 1_000, 10, 3, 500
TURNS = 5


def run() -> Iterator[Figure]:
    with served(SERVICES, ENDPOINTS, NETWORKS) as server:
        without = processes.resident(server.pid) / processes.MB
        load = Load()
        for client in server.mesh.proxies(PROXIES):
            server.open(load, client)
            load.step()
        load.quiet(3.0, 300.0)
        held = []
        for _ in range(TURNS):
            server.mesh.turn()
            load.quiet(1.0)
            held.append(processes.resident(server.pid) / processes.MB)
        load.close()
    yield Figure(
        name=f"{SERVICES} services x {ENDPOINTS} endpoints, {PROXIES} proxies, {NETWORKS} networks: RSS",
        values=tuple(held),
        unit="MB",
        references=(Reference("before the proxies came", (without,)),),
        target=300,
    )
