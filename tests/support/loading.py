"""A real Envoy in a network namespace of its own, where it may bind what it is told to, asked how it took what it was sent."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steersman.server.bootstrap import Mode, envoy_bootstrap
from tests.support.ads import FixedADS, Tables
from tests.support.envoy import envoy

READY_SECONDS = 40.0


class Loaded(NamedTuple):
    """What came of it. `seconds`: until Envoy had loaded its first clusters and listeners. `refused`: its words. `rejected`, `warming`: its
    statistics of these names that aren't 0. `clusters`, `listeners`: those in use, by name."""

    seconds: float
    refused: list[str]
    rejected: dict[str, int]
    warming: dict[str, int]
    clusters: frozenset[str]
    listeners: frozenset[str]


def load(tables: Tables, *, node_id: str, directory: Path, addresses: Iterable[str] = ()) -> Loaded:
    """Starts an Envoy, serves it, waits until it is ready, and ends it. `addresses`: the machine's own beside loopback, for listeners to
    bind. Skips the test where no namespace can be made."""
    binary = envoy()
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("needs root, unshare and iproute2, for a network namespace of Envoy's own")
    admin, config, log = directory / "admin.sock", directory / "bootstrap.json", directory / "envoy.log"
    with FixedADS({node_id: tables}, f"unix:{directory / 'xds.sock'}") as ads:
        bootstrap = envoy_bootstrap(node_id=node_id, node_cluster="test", xds=ads.address, admin=f"unix:{admin}", mode=Mode.SOTW)
        config.write_text(json.dumps(bootstrap))
        steps = ["ip link set lo up", *(f"ip address add {address} dev lo" for address in addresses)]
        run = f'{" && ".join(steps)} && exec "$0" --config-path "$1" --disable-hot-restart --concurrency 1 --log-level warning'
        start = time.monotonic()
        with log.open("wb") as said:
            process = subprocess.Popen(["unshare", "--net", "sh", "-c", run, str(binary), str(config)], stdout=said, stderr=said)
        try:
            _wait_ready(admin, process, log)
            return _loaded(admin, time.monotonic() - start, ads.rejected)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_ready(admin: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Envoy ended: {log.read_text()}"
        try:
            if _get(admin, "/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"Envoy isn't ready after {READY_SECONDS} s: {_get(admin, '/init_dump')[1]!r} {log.read_text()}")


def _loaded(admin: Path, seconds: float, refused: list[str]) -> Loaded:
    stats = {one["name"]: one["value"] for one in _json(admin, "/stats?format=json")["stats"] if one.get("value")}
    clusters = _json(admin, "/config_dump?resource=dynamic_active_clusters").get("configs", [])
    listeners = _json(admin, "/config_dump?resource=dynamic_listeners").get("configs", [])
    return Loaded(
        seconds=seconds,
        refused=refused,
        rejected={name: value for name, value in stats.items() if name.endswith("update_rejected")},
        warming={name: value for name, value in stats.items() if "warming" in name},
        clusters=frozenset(one["cluster"]["name"] for one in clusters),
        listeners=frozenset(one["name"] for one in listeners if "active_state" in one),
    )


def _json(admin: Path, path: str) -> Any:
    return json.loads(_get(admin, path)[1])


def _get(admin: Path, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("envoy", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(admin))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
