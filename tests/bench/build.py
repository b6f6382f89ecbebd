"""The full build from facts of all that twelve standpoints are sent of 100,000 endpoints, and the bytes that it holds in the end.

Each round in a process of its own, so that none finds what another left. Everything that a mesh makes is counted: facts, graph, bytes,
tables.
"""

import ctypes
import gc
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from steersman.model.ids import NetworkID
from steersman.names import EDS
from tests.bench.figures import Figure, Reference
from tests.bench.mesh import Mesh

SERVICES, ENDPOINTS = 1000, 100
ROUNDS = 3
FURTHER = 2
"""Times twelve further standpoints."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Built(NamedTuple):
    """`seconds` and `upb`: CPU. Sizes in bytes an endpoint, by resident memory: of facts alone, of everything with twelve standpoints, and
    what each further standpoint adds."""

    seconds: float
    upb: float
    facts: float
    held: float
    further: float


def run() -> Sequence[Figure]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        rounds = [processes.submit(built).result() for _ in range(ROUNDS)]
    of = dict(zip(Built._fields, zip(*rounds, strict=True), strict=True))
    upb = Reference("upb builds the same 12,000 assignments from their bytes, and writes them", of["upb"])
    facts = Reference("of it the facts", of["facts"])
    return [
        Figure(name="full build: 12 views of 100,000 endpoints", values=of["seconds"], unit="s", references=(upb,), target=3.0),
        Figure(name="held an endpoint: 100,000, 12 standpoints", values=of["held"], unit="bytes", references=(facts,), target=2048.0),
        Figure(name="held an endpoint: each further standpoint", values=of["further"], unit="bytes", target=204.8),
    ]


def built() -> Built:
    gc.disable()  # as the server does until it is ready
    warm = Mesh(2, 8)
    warm.connect()
    warm.settle()
    empty = _resident()
    mesh = Mesh(SERVICES, ENDPOINTS)
    facts = _resident()
    mesh.connect()
    began = time.process_time()
    mesh.settle()
    seconds = time.process_time() - began
    bodies = [resource.body for place in mesh.places for resource in place.tables[EDS].content()]
    assert len(bodies) == 12 * (SERVICES + 1)
    began = time.process_time()
    for body in bodies:
        ClusterLoadAssignment.FromString(body).SerializeToString(deterministic=True)
    upb = time.process_time() - began
    del bodies
    held = _resident()
    everywhere = tuple(NetworkID(f"n{number}") for number in range(4))
    mesh.connect([everywhere[:number] for number in range(1, FURTHER + 1)])
    mesh.settle()
    further = _resident()
    count = SERVICES * ENDPOINTS
    return Built(seconds, upb, (facts - empty) / count, (held - empty) / count, (further - held) / count / (12 * FURTHER))


def _resident() -> int:
    """Bytes of resident memory, without what the allocator could give back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
