"""Services, their pods and endpoints, and proxies come and go by the ten thousand: what stays in memory.

By resident memory, in a process of its own. The cyclic collector is off, as what a server keeps it from looking at must go without it.
"""

import ctypes
import gc
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from steersman.model.facts import Delete
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.names import EDS
from tests.bench.figures import Figure
from tests.bench.mesh import Mesh, proxy_of, service_facts, upsert

CYCLES, EVERY = 10_000, 1_000
OTHERS = 50
"""Services that come and go have one of so many names."""


def run() -> Iterator[Figure]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        first, *later = processes.submit(resident).result()
    yield Figure(
        name=f"resident memory over {CYCLES:,} times a service, its endpoints and a proxy come and go",
        values=tuple(size / first for size in later),
        unit="x",
        most_target=1.05,
    )


def resident() -> list[float]:
    """Bytes after each thousand cycles, the first of them as a beginning."""
    gc.disable()
    mesh = Mesh(30, 20)
    mesh.connect()
    mesh.settle()
    sizes = []
    for cycle in range(CYCLES + 1):
        if cycle and cycle % EVERY == 0:
            sizes.append(_resident())
        facts = service_facts(ClusterID(f"c{cycle % 4}"), cycle % 4, 1000 + cycle % OTHERS, 1 + cycle % 10)
        proxy = proxy_of(cycle % 4, (f"10.250.{cycle // 250 % 250}.{cycle % 250 + 1}",), None)
        mesh.pipeline.apply([*facts, upsert(Kind.PROXY, proxy.id, proxy)])
        place = mesh.cache.join(proxy.id)
        mesh.cache.hold(place, EDS, None)
        mesh.settle()
        mesh.cache.leave(place)
        mesh.pipeline.apply([*(Delete(kind=fact.kind, key=fact.key) for fact in facts), Delete(kind=Kind.PROXY, key=proxy.id)])
        mesh.settle()
    return sizes


def _resident() -> float:
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
