"""Fifty real Envoys on this machine: from a file's replacement to the ACK of the last of them."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import observed
from tests.bench.figures import Figure, Reference
from tests.bench.meshes import Mesh
from tests.support.live import ControlPlane, Workload, envoys

COUNT = 50
SERVICES, ENDPOINTS = 20, 7
ROUNDS, WARM_UP = 20, 3
PAUSE = 0.5
PATIENCE = 10.0


class Observed:
    """The server, asked about its ACKs (see tests/bench/observed.py)."""

    def __init__(self, plane: ControlPlane) -> None:
        self._socket = str(plane.directory / "observed.sock")
        plane.start(sys.executable, observed.__file__, str(plane.config), self._socket).ready()

    def newest(self) -> tuple[float, int]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self._socket)
            at, count = asking.makefile().read().split()
        return float(at), int(count)


def run() -> Iterator[Figure]:
    first, *others = [Workload(f"client-{number}", number, "c0", account="client") for number in range(COUNT)]
    with TemporaryDirectory() as base:
        plane = ControlPlane(Path(base), {"c0": {"network": "network-c0"}})
        mesh = Mesh(plane, SERVICES, ENDPOINTS)
        try:
            server = Observed(plane)
            with envoys(plane, first):
                alone = tuple(times(mesh, server, 1))
                with envoys(plane, *others):
                    together = tuple(times(mesh, server, COUNT))
        finally:
            plane.stop()
    one = Reference("one Envoy alone", alone)
    yield Figure(name=f"{COUNT} real Envoys: change to the last ACK", values=together, references=(one,), target=100)


def times(mesh: Mesh, server: Observed, count: int) -> Iterator[float]:
    """Milliseconds from a change to the last of so many ACKs, a round after the other."""
    for number in range(WARM_UP + ROUNDS):
        time.sleep(PAUSE)
        began = time.monotonic()
        mesh.turn()
        time.sleep(PAUSE)
        at, acknowledged = server.newest()
        while acknowledged < count or at < began:
            assert time.monotonic() < began + PATIENCE, f"{acknowledged} of {count} acknowledged, the last at {at - began:.3f} s"
            time.sleep(PAUSE)
            at, acknowledged = server.newest()
        if number >= WARM_UP:
            yield (at - began) * 1e3
