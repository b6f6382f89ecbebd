"""Load reports of real clients under traffic: in metrics, and in `explain`, on the wire and on the terminal."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from steersman.server.bootstrap import envoy_bootstrap
from tests.live.mesh import CLUSTERS, EAST, fill, fqdn, outbound
from tests.support.live import ControlPlane, Workload, eventually, serving
from tests.support.objects import endpoint, node, pod, service, slice_of
from tests.support.running import free_port, http_app, started_envoy

pytestmark = pytest.mark.envoy

NEAR, FAR, DEAD = Workload("load-1", 6), Workload("load-2", 7), Workload("load-3", 8)
PORT = 8000
CLUSTER = outbound("load", PORT)
PROXY = f"proxy={EAST.client.name}"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Its service has an application in one zone, one in another, and in a third one that takes no connections."""
    plane = ControlPlane(tmp_path_factory.mktemp("loads"), {"east": CLUSTERS["east"]}, xds={"loadReportingInterval": "1s"})
    fill(plane)
    target = free_port(NEAR.ip)
    with ExitStack() as stack:
        for one in (NEAR, FAR):
            stack.enter_context(http_app(one.ip, target))
        places = (NEAR, FAR, DEAD)
        plane.clusters["east"].put(
            "load.yaml",
            service("load", {"http": (PORT, target)}, ip="10.96.7.7"),
            *(node(f"node-{one.name}", "east", f"zone-{one.name[-1]}") for one in places),
            *(pod(one.name, one.ip, labels={}, node=f"node-{one.name}") for one in places),
            slice_of("load", {"http": target}, [endpoint(one.name, one.ip) for one in places]),
        )
        stack.enter_context(serving(plane))
        yield plane


@contextmanager
def reporting(plane: ControlPlane, *, load_reports: bool = True) -> Iterator[None]:
    workload = EAST.client
    bootstrap = envoy_bootstrap(
        node_id=workload.id,
        xds=plane.xds,
        admin=f"{workload.ip}:{free_port(workload.ip)}",
        metadata=workload.metadata,
        load_reports=load_reports,
    )
    with started_envoy(bootstrap, plane.directory, workload.name) as envoy:
        envoy.wait_ready()
        yield


@contextmanager
def traffic() -> Iterator[None]:
    """Requests, one after the other, for as long as it is entered."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            connection = HTTPConnection(EAST.client.outbound, PORT, timeout=5)
            try:
                connection.request("GET", "/", headers={"host": f"{fqdn('load')}:{PORT}"})
                connection.getresponse().read()
            except (OSError, HTTPException):
                stop.wait(0.05)
            finally:
                connection.close()
            stop.wait(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def explained(plane: ControlPlane) -> dict[str, Any]:
    found: dict[str, Any] = plane.json(f"/debug/explain?{PROXY}&service=load.demo:{PORT}")
    return found


def loads(plane: ControlPlane) -> dict[str, dict[str, float]]:
    """By locality."""
    (port,) = explained(plane)["ports"]
    return {one["locality"]: one for one in port.get("load", ())}


def text(plane: ControlPlane) -> str:
    command = [sys.executable, "-m", "steersman.cli", "explain", EAST.client.name, f"load.demo:{PORT}", "--server", plane.inspect]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def total(plane: ControlPlane, name: str, zone: int) -> float:
    """What that metric says of the service's cluster and that zone."""
    return plane.metrics(name)[f'{{cluster="{CLUSTER}",locality="east/zone-{zone}"}}']


def test_an_envoy_reports_what_it_sends_where_and_how_it_ends(plane: ControlPlane) -> None:
    with reporting(plane):
        eventually(lambda: explained(plane)["load_reports"].get("seconds"))
        assert loads(plane) == {}
        assert "load: this proxy reports no request here in the last " in text(plane)
        with traffic():
            eventually(lambda: loads(plane).keys() == {"east/zone-1", "east/zone-2", "east/zone-3"})
            told = text(plane).rstrip()
        first, second, dead = (loads(plane)[f"east/zone-{number}"] for number in (1, 2, 3))
        assert all(one["issued"] > 0 and one["succeeded"] > 0 and "failed" not in one for one in (first, second))
        assert dead["failed"] > 0
        assert "issued" not in dead, "there was no connection to issue it on"
        assert "load, as this proxy reports it, in requests a second over the last " in told
        assert [line.split()[0] for line in told.splitlines()[-3:]] == ["east/zone-1", "east/zone-2", "east/zone-3"]
        for zone in (1, 2):
            assert total(plane, "steersman_load_issued_requests_total", zone) > 0
            assert total(plane, "steersman_load_successful_requests_total", zone) > 0
        assert total(plane, "steersman_load_failed_requests_total", 3) > 0
        assert plane.metrics("steersman_load_reporters") == {"": 1.0}
    sent = total(plane, "steersman_load_issued_requests_total", 1)
    eventually(lambda: plane.metrics("steersman_load_reporters") == {"": 0.0})
    assert total(plane, "steersman_load_issued_requests_total", 1) >= sent, "a counter goes on when the proxy is gone"
    assert set(plane.metrics("steersman_load_requests_in_progress").values()) == {0.0}


def test_of_an_envoy_that_was_not_told_to_report_it_is_said_that_there_is_nothing(plane: ControlPlane) -> None:
    with reporting(plane, load_reports=False):
        found = eventually(lambda: explained(plane))
        assert found["load_reports"] == {}
        assert "no load reports: this proxy has no stream for them (steersman bootstrap --load-reports)" in text(plane)
