"""A mass removal as proxies meet it: an API server comes back with empty lists, and a real Envoy and a gRPC client keep their endpoints,
until the command says that the lists are right."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.live.mesh import EAST, HTTP, TARGETS, outbound
from tests.live.test_grpc_client import Greeter, client
from tests.support.apiserver.double import Double
from tests.support.live import PATIENCE, ControlPlane, endpoints, envoys, eventually
from tests.support.objects import NAMESPACE, endpoint, pod, service, slice_of
from tests.support.running import free_port, loopback

GREETER = loopback(233)
PORT = 50051
WEB = outbound("web", HTTP)
IPS = ["10.0.0.1", "10.0.0.2"]


@pytest.fixture
def greeter() -> Iterator[int]:
    """The port of a server that answers every call."""
    port = free_port(GREETER)
    server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[Greeter("hello")])
    assert server.add_insecure_port(f"{GREETER}:{port}") == port
    server.start()
    yield port
    server.stop(None)


@pytest.fixture
def api(greeter: int) -> Iterator[Double]:
    """Two services, of two endpoints and of one."""
    with Double() as running:
        running.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
        running.apply(service("greeter", {"grpc": (PORT, 1)}), pod("greeter-1", GREETER))
        running.apply(slice_of("greeter", {"grpc": greeter}, [endpoint("greeter-1", GREETER)]))
        running.apply(service("web", {"http": (HTTP, TARGETS["http"])}, ip="10.96.0.1"))
        running.apply(*(pod(f"web-{ip[-1]}", ip) for ip in IPS), pod(EAST.client.name, EAST.client.ip, app="client"))
        running.apply(slice_of("web", {"http": TARGETS["http"]}, [endpoint(f"web-{ip[-1]}", ip) for ip in IPS]))
        yield running


@pytest.fixture
def plane(api: Double, tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "east.kubeconfig").write_text(json.dumps(api.kubeconfig()))
    plane = ControlPlane(tmp_path, {"east": {"kubernetes": {"kubeconfig": "east.kubeconfig"}}})
    yield plane.start().ready(60)
    plane.stop()


def steersman(plane: ControlPlane, *words: str) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-m", "steersman.cli", *words, "--server", plane.inspect)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.envoy
def test_proxies_keep_their_endpoints_over_lists_that_are_empty_and_lose_them_when_that_is_confirmed(
    plane: ControlPlane, api: Double
) -> None:
    with envoys(plane, EAST.client) as running, client(plane, "grpc-core", f"xds:///greeter.{NAMESPACE}:{PORT}") as calling:
        envoy = running[EAST.client.name]
        before = eventually(lambda: endpoints(envoy, WEB))
        assert len(before) == 2
        eventually(lambda: calling.call() == "hello")
        api.stop()
        for name in ("greeter-1", "web-1"):
            api.delete("EndpointSlice", name, NAMESPACE)
        api.compact()
        api.start()
        held = eventually(lambda: plane.findings().get("removal-held", []), 2 * PATIENCE)
        assert {one["object"] for one in held} == {f"Service east/{NAMESPACE}/greeter", f"Service east/{NAMESPACE}/web"}
        assert calling.call() == "hello"
        assert endpoints(envoy, WEB).keys() == before.keys()
        assert plane.metrics("steersman_held_endpoints") == {'{cluster="east"}': 3}
        found = plane.json(f"/debug/explain?proxy={EAST.client.name}&service=web.{NAMESPACE}:{HTTP}")["ports"][0]["candidates"]
        assert {(one["address"], one["rule"], one["admitted"]) for one in found} == {(ip, "removal-held", True) for ip in IPS}
        eventually(lambda: "SYNCED" in steersman(plane, "clusters").stdout, 2 * PATIENCE)
        listed = steersman(plane, "clusters")
        assert listed.returncode == 1
        assert "east: a mass removal is held; `steersman release east` lets go of it" in listed.stdout
        released = steersman(plane, "release", "east", f"{NAMESPACE}/web", "-o", "json")
        assert [(one["object"], one["count"]) for one in json.loads(released.stdout)] == [(f"Service east/{NAMESPACE}/web", "2")]
        eventually(lambda: not endpoints(envoy, WEB))
        assert calling.call() == "hello"
        rest: Any = steersman(plane, "release", "east")
        assert (rest.returncode, f"Service east/{NAMESPACE}/greeter" in rest.stdout) == (0, True)
        eventually(lambda: calling.call().startswith("UNAVAILABLE"))
        eventually(lambda: "removal-held" not in plane.findings())
        assert steersman(plane, "clusters").returncode == 0
