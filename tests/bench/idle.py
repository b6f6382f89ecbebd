"""What a stream costs that is up to date and says nothing: memory of the server's process, the transport's share included."""

from collections.abc import Iterator, Sequence

from steersman.server.memory import PERIOD
from tests.bench import processes
from tests.bench.bare import PATH as BARE_PATH
from tests.bench.bare import bare
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.meshes import delta_requests
from tests.bench.served import Served, served

CLUSTERS = 1_000
BATCHES, BATCH = 4, 250
TURNS = 3
"""Pushes to every stream before it is idle, as in life."""
REST = PERIOD + 3.0
"""Seconds until the server has given back what it does not need."""


def run() -> Iterator[Figure]:
    with served(CLUSTERS, 2) as server:
        client = next(server.mesh.strangers(1))
        requests = delta_requests(client, server.names(client))
        ours = tuple(_grown(server))
    yield Figure(
        name=f"an idle delta stream, {CLUSTERS} clusters subscribed",
        values=ours,
        unit="KB",
        references=(
            Reference("bare grpc.aio, sent the same requests", tuple(_bare(requests))),
            Reference("bare grpc.aio, sent an empty one", tuple(_bare([b""]))),
        ),
        target=64,
    )


def _grown(server: Served) -> Iterator[float]:
    """KB that a stream of each batch adds."""
    load = Load()
    clients = server.mesh.strangers(BATCHES * BATCH + 1)
    server.open(load, next(clients))  # what all that are alike share is made for the first of them
    load.quiet(REST)
    for _ in range(BATCHES):
        before = processes.private(server.pid)
        for _ in range(BATCH):
            server.open(load, next(clients))
            load.step()
        load.quiet(2.0)
        for _ in range(TURNS):
            server.mesh.turn()
            load.quiet(1.0)
        load.quiet(REST)
        yield (processes.private(server.pid) - before) / BATCH / processes.KB
    load.close()


def _bare(requests: Sequence[bytes]) -> Iterator[float]:
    """The same of a server that does nothing."""
    with bare("grpc") as plain:
        load = Load()
        for _ in range(BATCHES):
            before = processes.private(plain.pid)
            for _ in range(BATCH):
                load.open(plain.address, BARE_PATH, requests)
                load.step()
            for _ in range(TURNS):
                load.quiet(0.5)
                plain.send(1_024)
            load.quiet(1.0)
            yield (processes.private(plain.pid) - before) / BATCH / processes.KB
        load.close()
