"""A cluster read from its API, of 1,000 services with a slice of 100 endpoints and the pods of these each: from the server's start to the
last assignment, what a slice takes, and 2,000 events a second, each to the bytes of its assignment at a proxy.

An event is one endpoint that is no longer ready, or is again. The API server is the double, in a process of its own; that, the server and
this client share the machine's cores. The server's modules are compiled before, as those of any installation are.
"""

import asyncio
import ctypes
import gc
import json
import os
import random
import re
import subprocess
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.names import EDS
from steersman.settings import RemovalGuardSettings
from steersman.sources.kube.api import Api
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.resources import RESOURCES, Resource
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.wire import Lines
from steersman.sources.pace import Pace
from tests.bench import processes
from tests.bench.apiserver import name_of
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load, Wire
from tests.bench.meshes import Client, Names, delta_requests
from tests.support.live import ControlPlane

SERVICES, ENDPOINTS = 1_000, 100
STARTS = 3
RATES, SECONDS = (500.0, 2_000.0), 10.0
NODES, SLICES, PODS = (
    next(resource for resource in RESOURCES if resource.kind is kind) for kind in (Kind.NODE, Kind.ENDPOINT_SLICE, Kind.POD)
)
PATH = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
CLIENT = Client("client-0", "10.250.0.1", "c0", "client")
NAMES: Names = {EDS: [f"outbound|80||{name_of(number)}.demo.svc.cluster.local" for number in range(SERVICES)]}


def run() -> Iterator[Figure]:
    with compiled(), TemporaryDirectory() as base:
        file = Path(base) / "kubeconfig"
        with api(SERVICES, ENDPOINTS, "bare") as (_, kubeconfig):
            file.write_text(json.dumps(kubeconfig))
            started(file)
            seconds, used = zip(*(started(file) for _ in range(STARTS)), strict=True)
            yield Figure(
                name=f"{SERVICES} slices x {ENDPOINTS} endpoints, without pods, from an API server: start of serve to the last assignment",
                values=tuple(seconds),
                unit="s",
                references=(Reference("CPU of the server", tuple(used)),),
                target=5,
            )
        yield from with_pods(file)


def with_pods(file: Path) -> Iterator[Figure]:
    with api(SERVICES, ENDPOINTS) as (process, kubeconfig):
        file.write_text(json.dumps(kubeconfig))
        started(file)
        bare = tuple(asyncio.run(told(file)) for _ in range(STARTS))
        seconds, used = zip(*(started(file) for _ in range(STARTS)), strict=True)
        whole = f"{SERVICES} slices x {ENDPOINTS} endpoints, and their pods, from an API server"
        yield Figure(
            name=f"{whole}: start of serve to the last assignment",
            values=tuple(seconds),
            unit="s",
            references=(
                Reference("CPU of the server", tuple(used)),
                Reference("bare aiohttp and msgspec, once a server listens: all objects as dicts, which are dropped", bare),
            ),
            target=5,
        )
        slices, pods = zip(*(kept_by_another(file) for _ in range(STARTS)), strict=True)
        yield Figure(name="memory kept a slice by its source, with what it told", values=tuple(slices), unit="KB", target=25)
        yield Figure(name="memory kept for the pods of a slice, likewise", values=tuple(pods), unit="KB")
        for rate in RATES:
            yield from churned(process, file, rate)


@contextmanager
def compiled() -> Iterator[None]:
    """Processes that are started within find their modules compiled, from the second on, whatever this environment says of that."""
    before = dict(os.environ)
    with TemporaryDirectory() as base:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = base
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def api(services: int, endpoints: int, *options: str) -> Iterator[tuple["subprocess.Popen[str]", Any]]:
    """The API server, and its kubeconfig."""
    command = [sys.executable, "-m", "tests.bench.apiserver", str(services), str(endpoints), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)


@contextmanager
def serving(file: Path) -> Iterator[ControlPlane]:
    with TemporaryDirectory() as base:
        plane = ControlPlane(Path(base), {"c0": {"network": "network-c0", "kubernetes": {"kubeconfig": str(file)}}})
        try:
            yield plane.start()
        finally:
            plane.stop()


def opened(plane: ControlPlane, load: Load) -> Wire:
    """A proxy's stream that asks for everything; as soon as the server listens."""
    host, _, port = plane.xds.rpartition(":")
    deadline = time.monotonic() + 60
    while True:
        try:
            return load.open((host, int(port)), PATH, delta_requests(CLIENT, NAMES))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, plane.said()
            time.sleep(0.005)


def started(file: Path) -> tuple[float, float]:
    """Seconds from the server's start until a proxy has every assignment, and of the server's processor in them."""
    began = time.monotonic()
    with serving(file) as plane:
        load = Load()
        seen: set[int] = set()
        opened(plane, load).heard = lambda raw: seen.update(assigned(raw))
        load.run(lambda: len(seen) == SERVICES, 120)
        taken = time.monotonic() - began, processes.cpu(plane.pid)
        load.close()
    return taken


def assigned(raw: bytes) -> Iterator[int]:
    """The services whose assignments are in a response."""
    if EDS.encode() in raw:
        for match in re.finditer(rb"outbound\|80\|\|service-(\d+)\.demo", raw):
            yield int(match[1])


async def told(file: Path) -> float:
    """Seconds until all slices and pods have come, with nothing made of them."""
    began = time.monotonic()
    async with Api(KubeconfigFile(file), Timing()) as server:
        await asyncio.gather(*(watched(server, resource, initial=True) for resource in (SLICES, PODS)))
    return time.monotonic() - began


async def watched(server: Api, resource: Resource, *, initial: bool, seconds: float = 0.0) -> float:
    """Reads a watch, every line to a dict, until everything that is there at first has been told, or for so long. Of that, seconds of this
    process's CPU."""
    query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "300")]
    if initial:
        query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
    used, lines = time.process_time(), Lines()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds or None), server.request(resource.path("v1"), tuple(query)) as response:
            while part := await server.part(response):
                for line in lines.feed(part):
                    if msgspec.json.decode(line)["type"] == "BOOKMARK" and initial:
                        return time.process_time() - used
    return time.process_time() - used


def kept_by_another(file: Path) -> tuple[float, float]:
    """`kept`, in a process that has done nothing before."""
    code = "import sys; from tests.bench import kubernetes; kubernetes.tell_kept(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, check=True)
    slices, pods = json.loads(done.stdout)
    return slices, pods


def tell_kept(file: str) -> None:
    """`kept`, on stdout."""
    print(json.dumps(asyncio.run(kept(Path(file)))))


async def kept(file: Path) -> tuple[float, float]:
    """KB of this process for each slice that a source holds, with the facts that it told, and for the pods of one."""
    held: list[object] = []
    found = []
    whole = asyncio.Event()

    def heard(follower: Follower) -> None:
        held.extend(follower.guard.facts(time.time()))
        if follower.mirror.whole:
            whole.set()

    async with Api(KubeconfigFile(file), Timing()) as server:
        for resource in (NODES, SLICES, PODS):  # the first makes the connection, and what it takes to read any
            whole.clear()
            before = held_now()
            follower = Follower(
                resource,
                Mirror(ClusterID("c0"), resource),
                timing=Timing(),
                random=random.random,
                clock=time.time,
                pace=Pace(),
                guard=RemovalGuard(ClusterID("c0"), RemovalGuardSettings(), lambda pod: None, grace=30.0, place=str),
                told=heard,
            )
            held.append(follower)
            running = asyncio.create_task(follower.run(server))
            await whole.wait()
            await asyncio.sleep(1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            found.append((held_now() - before) / processes.KB / SERVICES)
    assert len(held) > SERVICES * ENDPOINTS
    return found[1], found[2]


def held_now() -> int:
    """Bytes of this process, without what is no longer used: the server gives that back as well."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return processes.private(os.getpid())


def churned(process: "subprocess.Popen[str]", file: Path, rate: float) -> Iterator[Figure]:
    """Events at that rate, each to the arrival of its service's assignment at a proxy.

    CPU an event has no target: a server that is not behind takes events as they come, in more generations the more time it has, and so is
    always as busy as its core allows.
    """
    with serving(file) as plane:
        load = Load()
        arrived: dict[int, list[float]] = defaultdict(list)

        def heard(raw: bytes) -> None:
            now = time.monotonic()
            for number in assigned(raw):
                arrived[number].append(now)

        opened(plane, load).heard = heard
        load.run(lambda: len(arrived) == SERVICES, 120)
        load.quiet(3.0)
        used = processes.cpu(plane.pid)
        begin(process, rate)
        deadline = time.monotonic() + SECONDS + 0.5  # nothing is heard while the double's answer is waited for, and it takes a while
        load.run(lambda: time.monotonic() > deadline, SECONDS + 30)
        events = ended(process)
        newest = dict(events)
        load.run(lambda: all(arrived[number][-1] >= at for number, at in newest.items()), 120)
        used = processes.cpu(plane.pid) - used
        load.close()
    begin(process, rate)
    bare = 1_000_000 * asyncio.run(read(file)) / len(ended(process))
    yield from judged(events, arrived, rate, 1_000_000 * used / len(events), bare)


def begin(process: "subprocess.Popen[str]", rate: float) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{rate} {SECONDS}\n")
    process.stdin.flush()


def ended(process: "subprocess.Popen[str]") -> list[tuple[int, float]]:
    """The events: the service of each, and when it was."""
    assert process.stdout is not None
    return [(int(number), float(at)) for number, at in json.loads(process.stdout.readline())]


async def read(file: Path) -> float:
    """Seconds of CPU that it takes to do no more than to read as many events."""
    async with Api(KubeconfigFile(file), Timing()) as server:
        return await watched(server, SLICES, initial=False, seconds=SECONDS - 0.5)


def judged(events: list[tuple[int, float]], arrived: dict[int, list[float]], rate: float, used: float, bare: float) -> Iterator[Figure]:
    waits = [1000 * (arrived[number][bisect_left(arrived[number], at)] - at) for number, at in events]
    lasted = max(times[-1] for times in arrived.values()) - events[0][1]
    promised = rate == max(RATES)
    yield Figure(
        name=f"{rate:.0f} events a second for {SECONDS:.0f} s: event to its assignment at a proxy",
        values=tuple(waits),
        p99_target=20 if promised else None,
    )
    yield Figure(
        name="the same: CPU of the server an event",
        values=(used,),
        unit="us",
        references=(Reference("bare aiohttp and msgspec: each event as a dict, which is dropped", (bare,)),),
    )
    yield Figure(name="the same: until the last had arrived", values=(lasted,), unit="s", target=SECONDS + 0.1 if promised else None)
