"""A cluster read from its API, of 1,000 services with a slice of 100 endpoints each: from the server's start to the last assignment, what a
slice takes, and 2,000 events a second, each to the bytes of its assignment at a proxy.

The API server is the double, in a process of its own; that, the server and this client share the machine's cores.
"""

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steersman.model.ids import ClusterID
from steersman.names import EDS
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.source import KubeSource
from tests.bench import processes
from tests.bench.apiserver import name_of
from tests.bench.figures import Figure, Reference
from tests.bench.http2 import Load, Wire
from tests.bench.meshes import Client, Names, delta_requests
from tests.support.live import ControlPlane

SERVICES, ENDPOINTS = 1_000, 100
STARTS = 3
RATE, SECONDS = 2_000.0, 10.0
PATH = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
CLIENT = Client("client-0", "10.250.0.1", "c0", "client")
NAMES: Names = {EDS: [f"outbound|80||{name_of(number)}.demo.svc.cluster.local" for number in range(SERVICES)]}


def run() -> Iterator[Figure]:
    with api(SERVICES, ENDPOINTS) as (process, kubeconfig), TemporaryDirectory() as base:
        file = Path(base) / "kubeconfig"
        file.write_text(json.dumps(kubeconfig))
        seconds, used = zip(*(started(file) for _ in range(STARTS)), strict=True)
        whole = f"{SERVICES} slices x {ENDPOINTS} endpoints from an API server"
        yield Figure(
            name=f"{whole}: start of serve to the last assignment",
            values=tuple(seconds),
            unit="s",
            references=(Reference("CPU of the server", tuple(used)),),
            target=5,
        )
        yield Figure(name=f"{whole}: memory kept a slice", values=(kept(file),), unit="KB", target=25)
        yield from churned(process, file)


@contextmanager
def api(services: int, endpoints: int) -> Iterator[tuple["subprocess.Popen[str]", Any]]:
    """The API server, and its kubeconfig."""
    command = [sys.executable, "-m", "tests.bench.apiserver", str(services), str(endpoints)]
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


def kept(file: Path) -> float:
    """KB of this process for each slice that a source holds, with the facts that it told."""

    async def followed() -> float:
        held: list[object] = []
        source = KubeSource(ClusterID("c0"), KubeconfigFile(file))
        synced = asyncio.Event()

        def emit(facts: Any) -> None:
            held.extend(facts)
            if any(resource.whole and resource.name.startswith("endpointslices") for resource in source.status().resources):
                synced.set()

        await KubeconfigFile(file).credentials()  # imports what reads it
        gc.collect()
        before = processes.private(os.getpid())
        running = asyncio.create_task(source.run(emit))
        await asyncio.wait_for(synced.wait(), 120)
        await asyncio.sleep(1)
        gc.collect()
        after = processes.private(os.getpid())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(held) > SERVICES
        return (after - before) / processes.KB / SERVICES

    return asyncio.run(followed())


def churned(process: "subprocess.Popen[str]", file: Path) -> Iterator[Figure]:
    """Events at that rate, each to the arrival of its service's assignment at a proxy."""
    assert process.stdin is not None
    assert process.stdout is not None
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
        process.stdin.write(f"{RATE} {SECONDS}\n")
        process.stdin.flush()
        deadline = time.monotonic() + SECONDS
        load.run(lambda: time.monotonic() > deadline, SECONDS + 30)
        events = [(int(number), float(at)) for number, at in json.loads(process.stdout.readline())]
        newest = dict(events)
        load.run(lambda: all(arrived[number][-1] >= at for number, at in newest.items()), 120)
        used = processes.cpu(plane.pid) - used
        load.close()
    yield from judged(events, arrived, used)


def judged(events: list[tuple[int, float]], arrived: dict[int, list[float]], used: float) -> Iterator[Figure]:
    waits = [1000 * (arrived[number][bisect_left(arrived[number], at)] - at) for number, at in events]
    lasted = max(times[-1] for times in arrived.values()) - events[0][1]
    each = 1_000_000 * used / len(events)
    yield Figure(
        name=f"{len(events)} events at {RATE:.0f} a second: event to its assignment at a proxy",
        values=tuple(waits),
        unit="ms",
        p99_target=20,
    )
    yield Figure(name="the same: CPU of the server an event", values=(each,), unit="us", target=1_000_000 / RATE)
    yield Figure(name="the same: until the last had arrived", values=(lasted,), unit="s", target=SECONDS + 0.1)
