"""What a stream costs that is up to date and says nothing: memory of the server's process, the transport's share included."""

from collections.abc import Iterator

from tests.bench import processes
from tests.bench.bare import PATH as BARE_PATH
from tests.bench.bare import bare
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load
from tests.bench.served import Served, served

CLUSTERS = 1_000
BATCHES, BATCH = 5, 250
TURNS = 3
"""Pushes to every stream before it is idle, as in life."""


def run() -> Iterator[Figure]:
    with served(CLUSTERS, 2) as server:
        ours = tuple(_grown(server))
    with bare("grpc") as plain:
        load, alone = Load(), []
        for _ in range(BATCHES):
            before = processes.private(plain.pid)
            for _ in range(BATCH):
                load.open(plain.address, BARE_PATH, (b"",))
            for _ in range(TURNS):
                load.quiet(0.5)
                plain.send(1_024)
            load.quiet(1.0)
            alone.append((processes.private(plain.pid) - before) / BATCH / processes.KB)
        load.close()
    yield Figure(
        name=f"an idle delta stream, {CLUSTERS} clusters subscribed",
        values=ours,
        unit="KB",
        references=(Reference("bare grpc.aio", tuple(alone)),),
        target=64,
    )


def _grown(server: Served) -> Iterator[float]:
    """KB that a stream of each batch adds."""
    load = Load()
    clients = server.mesh.strangers(BATCHES * BATCH + 1)
    server.open(load, next(clients))  # what all that are alike share is made for the first of them
    load.quiet(2.0)
    for _ in range(BATCHES):
        before = processes.private(server.pid)
        for _ in range(BATCH):
            server.open(load, next(clients))
        load.quiet(2.0)
        for _ in range(TURNS):
            server.mesh.turn()
            load.quiet(1.0)
        yield (processes.private(server.pid) - before) / BATCH / processes.KB
    load.close()
