"""A warm file of 100,000 endpoints in 1,000 slices, with their pods: what it takes to write it and to read it, and for how long the event
loop is held meanwhile.

In CPU time of the loop's thread, as in `held`: compressing, checking and the disk are other threads'.
"""

import asyncio
import gc
import random
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from steersman.model.ids import ClusterID, ObjectKey, labels_of
from steersman.model.objects import EndpointSlice, Kind, Pod, Row, SliceEndpoint, SlicePort
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import run as at_once
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.resources import RESOURCES
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.warmfile import Kept
from steersman.sources.kube.warmstart import WarmStart
from steersman.sources.kube.warmstore import WarmDirectory
from steersman.sources.pace import Leisure, Pace
from tests.bench.figures import Figure
from tests.bench.held import LONGEST, Watched
from tests.support.mesh import MTLS, V4

CLUSTER = ClusterID("c0")
SLICES, ENDPOINTS = 1_000, 100
ROUNDS = 5
UID = "8f2f1c9e-6b9e-4b1e-9d51-0c1f7f3a{:04x}"
MB = 1 << 20


def run() -> Iterator[Figure]:
    watched = Watched()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watched)) as runner:
        yield from runner.run(_measured(watched))


async def _measured(watched: Watched) -> list[Figure]:
    gc.disable()  # as the server does until it is ready; what it does then has its own figure
    held = _followers()
    at_once(_mirror(held, Kind.ENDPOINT_SLICE).restore(map(_kept, _slices()), "a file of before", 0.0))
    at_once(_mirror(held, Kind.POD).restore(map(_kept, _pods()), "a file of before", 0.0))
    gc.freeze()
    written: dict[str, list[float]] = {"held": [], "cpu": [], "all": []}
    leisurely: dict[str, list[float]] = {"held": [], "cpu": [], "all": []}
    read: dict[str, list[float]] = {"held": [], "cpu": [], "all": []}
    size = 0
    with TemporaryDirectory() as base:
        for _ in range(ROUNDS):
            directory = WarmDirectory(Path(base), 3600.0)
            warm = _warm(directory)
            await _timed(watched, leisurely, warm.keep(held, "uid", time.time(), "synced", leisure=Leisure()))
            await _timed(watched, written, warm.keep(held, "uid", time.time(), "synced"))
            assert warm.store.complaint is None
            size = warm.store.bytes
            directory.close()
            again, followers = _warm(directory), _followers()
            await _timed(watched, read, again.restore(followers, "uid", lambda: True))
            assert sum(one.mirror.warm for one in followers if isinstance(one.mirror, Mirror)) == SLICES * (ENDPOINTS + 1)
            del again, followers
            gc.collect()
    whole = f"{SLICES} slices x {ENDPOINTS} endpoints and their pods"
    return [
        *_figures(f"a warm file of {whole}, written at leisure", leisurely),
        *_figures("the same, as at the end of a server", written),
        Figure(name="the same: its size", values=(size / MB,), unit="MB"),
        *_figures("the same, read into empty mirrors", read),
    ]


def _figures(name: str, taken: dict[str, list[float]]) -> Iterator[Figure]:
    yield Figure(name=f"{name}: the loop at a stretch", values=tuple(taken["held"]), most_target=LONGEST)
    yield Figure(name=f"{name}: the loop in all", values=tuple(taken["cpu"]))
    yield Figure(name=f"{name}: until it is done", values=tuple(taken["all"]))


async def _timed(watched: Watched, into: dict[str, list[float]], work: object) -> None:
    """In milliseconds."""
    await asyncio.sleep(0.1)
    watched.taken()
    began, cpu = time.monotonic(), time.thread_time()
    await work  # type: ignore[misc]  # either of the two
    into["all"].append(1000 * (time.monotonic() - began))
    into["cpu"].append(1000 * (time.thread_time() - cpu))
    await asyncio.sleep(0.1)
    into["held"].append(watched.taken())


def _warm(directory: WarmDirectory) -> WarmStart:
    return WarmStart(CLUSTER, directory.of(CLUSTER), Timing(), time.time, Pace())


def _followers() -> list[Follower]:
    return [
        Follower(
            resource,
            Mirror(CLUSTER, resource),
            timing=Timing(),
            random=random.random,
            clock=time.time,
            pace=Pace(),
            guard=RemovalGuard(CLUSTER, RemovalGuardSettings(), lambda pod: None, grace=30.0, place=str),
            told=lambda follower: None,
        )
        for resource in RESOURCES
    ]


def _mirror(followers: list[Follower], kind: Kind) -> Mirror:
    (found,) = (one.mirror for one in followers if isinstance(one.mirror, Mirror) and one.mirror.kind is kind)
    return found


def _kept(row: Row) -> Kept:
    return Kept(UID.format(random.randrange(1 << 16)), str(random.randrange(1 << 30)), row)


def _slices() -> Iterator[Row]:
    for number in range(SLICES):
        entries = tuple(
            SliceEndpoint.of(_address(number, place), node=f"node-{place % 50}", zone=f"zone-{place % 3}", pod=_name(number, place))
            for place in range(ENDPOINTS)
        )
        key = ObjectKey(CLUSTER, "demo", f"service-{number}-x2v7k")
        yield EndpointSlice.of(
            key,
            created="2026-01-01T00:00:00Z",
            service=f"service-{number}",
            family=V4,
            ports=(SlicePort(name="http", port=8080),),
            endpoints=entries,
        )


def _pods() -> Iterator[Row]:
    for number in range(SLICES):
        labels = labels_of({**MTLS, "app": f"service-{number}", "pod-template-hash": f"{number:08x}"})
        for place in range(ENDPOINTS):
            yield Pod(
                key=ObjectKey(CLUSTER, "demo", _name(number, place)),
                created="2026-01-01T00:00:00Z",
                ips=(_address(number, place),),
                labels=labels,
                node=f"node-{place % 50}",
                ports=(("http", 8080),),
                ready=True,
            )


def _address(number: int, place: int) -> str:
    index = number * ENDPOINTS + place
    return f"10.{index // 62_500}.{index // 250 % 250}.{index % 250 + 1}"


def _name(number: int, place: int) -> str:
    return f"service-{number}-{number:08x}-{random.Random(number * ENDPOINTS + place).randrange(1 << 20):05x}-{place}"
