"""From a pod's becoming ready in a file, replaced by rename, to its address in a real Envoy."""

import http.client
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.bench.figures import Figure, Reference
from tests.support.live import ControlPlane, Workload, envoys, serving
from tests.support.objects import Object, endpoint, pod, service, slice_of

ROUNDS = 20
PODS = 116
"""Pods in the YAML file: with their Service and EndpointSlice a little under 50 KB."""
PAUSE = 0.25
"""Seconds of quiet before each change."""

CLIENT = Workload("client-1", 20, "east", account="client")


def run() -> Sequence[Figure]:
    return [timed(as_json, "JSON, one EndpointSlice"), timed(as_yaml, f"YAML, {PODS} pods and their slice")]


def objects(number: int, address: str, *, ready: bool) -> list[Object]:
    """A service with its slice, in which the last pod is ready or not."""
    name = "web"
    pods = [pod(f"{name}-{place}", f"10.20.{number}.{place + 1}") for place in range(PODS)]
    entries = [endpoint(one["metadata"]["name"], one["status"]["podIPs"][0]["ip"]) for one in pods]
    pods.append(pod(f"{name}-last", address))
    entries.append(endpoint(f"{name}-last", address, ready=ready))
    return [service(name, {"http": (80, 8080)}, ip="10.96.0.9"), *pods, slice_of(name, {"http": 8080}, entries)]


def as_json(directory: Path, number: int, address: str, *, ready: bool) -> tuple[Path, bytes]:
    *others, piece = objects(number, address, ready=ready)
    (directory / "others.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": others}))
    return directory / "slice.json", json.dumps(piece).encode()


def as_yaml(directory: Path, number: int, address: str, *, ready: bool) -> tuple[Path, bytes]:
    return directory / "all.yaml", yaml.safe_dump_all(objects(number, address, ready=ready), sort_keys=False).encode()


Write = Callable[..., tuple[Path, bytes]]


def timed(content: Write, title: str) -> Figure:
    address = "10.20.250.250"
    with TemporaryDirectory() as base:
        plane = ControlPlane(Path(base), {"east": {"network": "network-east"}})
        directory = plane.clusters["east"].path
        file, ready = content(directory, 1, address, ready=True)
        _, unready = content(directory, 1, address, ready=False)
        file.write_bytes(unready)
        with serving(plane), envoys(plane, CLIENT) as started:
            watched = Watched(started[CLIENT.name].connection())
            times, references = [], []
            for _ in range(ROUNDS):
                watched.until(address, present=False)
                time.sleep(PAUSE)
                references.append(watched.once())
                began = time.perf_counter()
                replace(file, ready)
                watched.until(address, present=True)
                times.append((time.perf_counter() - began) * 1000)
                replace(file, unready)
    return Figure(
        name=f"visible in Envoy: {title}, {len(ready) // 1024} KB",
        values=tuple(times),
        references=(Reference("one look at Envoy's admin page", tuple(references)),),
    )


def replace(file: Path, content: bytes) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(content)
    new.replace(file)


class Watched:
    """An Envoy's list of endpoints, looked at over one connection."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def text(self) -> str:
        self._connection.request("GET", "/clusters")
        return self._connection.getresponse().read().decode()

    def once(self) -> float:
        """Milliseconds of one look."""
        began = time.perf_counter()
        self.text()
        return (time.perf_counter() - began) * 1000

    def until(self, address: str, *, present: bool, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while (f"::{address}:" in self.text()) is not present:
            if time.monotonic() > end:
                raise AssertionError(f"{address} is {'not ' if present else ''}in Envoy's clusters after {seconds} s")
