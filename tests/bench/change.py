"""One endpoint changes: from the fact to the bytes of every assignment that it changes, in the process that computes them.

CPU time, which other processes disturb less than time on the clock.
"""

import time
from collections.abc import Sequence

from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from steersman.resources.resource import Resource
from tests.bench.figures import Figure, Reference
from tests.bench.mesh import Mesh

ROUNDS = 300
WARM = 20
"""Changes before the first that counts."""


def run() -> Sequence[Figure]:
    return [*among_many(), *by_size()]


def among_many() -> Sequence[Figure]:
    """Beside what the protobuf runtime takes to write the same assignments again from messages that it holds."""
    (mesh,) = _settled((1000, 100))
    times, again = [], []
    for _ in range(ROUNDS):
        taken, changed = mesh.change()
        times.append(taken)
        again.append(_serialised(changed))
    return [
        Figure(
            name="event to bytes: 1 of 100,000 endpoints (1,000 x 100), 12 standpoints",
            values=tuple(times),
            references=(Reference("upb serialises the changed assignments again", tuple(again)),),
            target=1.0,
            p99_target=3.0,
        )
    ]


def by_size() -> Sequence[Figure]:
    """A small mesh and a large one, changed by turns: the cost of a change must not grow with the mesh."""
    small, large = _settled((100, 10), (10_000, 10))
    times: dict[Mesh, list[float]] = {small: [], large: []}
    for _ in range(ROUNDS):
        for mesh, taken in times.items():
            taken.append(mesh.change()[0])
    few = Reference("the same in 100 services x 10 endpoints", tuple(times[small]))
    figure = Figure(name="event to bytes: 10,000 services x 10 endpoints, 12 standpoints", values=tuple(times[large]), references=(few,))
    growth = Figure(
        name="the same, growth from 100 to 10,000 services",
        values=tuple(taken / few.median for taken in times[large]),
        unit="x",
        target=1.3,
    )
    return [figure, growth]


def _settled(*sizes: tuple[int, int]) -> list[Mesh]:
    meshes = [Mesh(services, endpoints) for services, endpoints in sizes]
    for mesh in meshes:
        mesh.connect()
        mesh.settle()
        mesh.freeze()
    for _ in range(WARM):
        for mesh in meshes:
            mesh.change()
    return meshes


def _serialised(changed: list[Resource]) -> float:
    """Milliseconds of CPU."""
    messages = [ClusterLoadAssignment.FromString(resource.body) for resource in changed]
    began = time.process_time()
    for message in messages:
        message.SerializeToString(deterministic=True)
    return (time.process_time() - began) * 1000
