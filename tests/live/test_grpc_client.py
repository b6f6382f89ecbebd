"""gRPC's own xDS client, with no proxy, calls a service of the mesh by its name, and follows it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import grpc
import pytest

from steersman.model.proxy import Interception
from steersman.server.bootstrap import node_metadata
from tests.live.mesh import CLUSTERS, EAST, fqdn
from tests.support.live import PATIENCE, ControlPlane, eventually, serving
from tests.support.objects import Directory, endpoint, pod, service, slice_of
from tests.support.running import free_port, loopback

FIRST, SECOND = loopback(231), loopback(232)
PORT = 50051
CLIENT = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
greet = channel.unary_unary("/demo.Greeter/Greet", request_serializer=bytes, response_deserializer=bytes)
for _ in sys.stdin:
    try:
        print(greet(b"", timeout=10).decode(), flush=True)
    except grpc.RpcError as error:
        print(error.code().name, error.details(), flush=True)
"""
"""Calls once for each line that it reads."""


class Greeter(grpc.GenericRpcHandler):
    """Answers every call with a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._name.encode())


class Client:
    """A process with gRPC's xDS client in it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def call(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def client(plane: ControlPlane, target: str) -> Iterator[Client]:
    metadata = node_metadata(cluster="east", namespace="demo", generator="grpc", interception=Interception.NONE)
    bootstrap = {
        "xds_servers": [{"server_uri": plane.xds, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
        "node": {"id": EAST.client.id, "metadata": metadata},
    }
    environment = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}
    command = [sys.executable, "-c", CLIENT, target]
    process = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield Client(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def greeters() -> Iterator[dict[str, int]]:
    """The port of each, by address."""
    with ExitStack() as stack:
        ports = {}
        for address, name in ((FIRST, "first"), (SECOND, "second")):
            ports[address] = free_port(address)
            server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[Greeter(name)])
            stack.callback(server.stop, None)
            assert server.add_insecure_port(f"{address}:{ports[address]}") == ports[address]
            server.start()
        yield ports


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, greeters: dict[str, int]) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("grpc"), {"east": CLUSTERS["east"]})
    plane.clusters["east"].put("greeter.yaml", service("greeter", {"grpc": (PORT, 1)}), pod("greeter-1", FIRST), pod("greeter-2", SECOND))
    with serving(plane):
        yield plane


def point(directory: Directory, greeters: dict[str, int], address: str) -> None:
    """The service runs there and nowhere else."""
    name = "greeter-1" if address == FIRST else "greeter-2"
    directory.put("slice.json", slice_of("greeter", {"grpc": greeters[address]}, [endpoint(name, address)]))


@pytest.mark.parametrize("host", [fqdn("greeter"), "greeter.demo", "greeter"])
def test_it_calls_by_any_name_and_follows_the_endpoints(plane: ControlPlane, greeters: dict[str, int], host: str) -> None:
    directory = plane.clusters["east"]
    point(directory, greeters, FIRST)
    eventually(lambda: "port-without-endpoints" not in plane.findings())
    with client(plane, f"xds:///{host}:{PORT}") as calling:
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        (proxy,) = plane.json("/debug/proxies")["proxies"]
        assert {kind["type"]: kind["sync"] for kind in proxy["types"]} == dict.fromkeys(["cds", "eds", "lds", "rds"], "SYNCED")
        assert proxy["agent"].startswith("gRPC")
        point(directory, greeters, SECOND)
        eventually(lambda: calling.call() == "second")
        assert {calling.call() for _ in range(5)} == {"second"}
    eventually(partial(disconnected, plane))


def disconnected(plane: ControlPlane) -> bool:
    return not plane.json("/debug/proxies").get("proxies")


def test_calls_go_on_while_the_server_is_away_and_endpoints_are_followed_once_it_is_back(
    plane: ControlPlane, greeters: dict[str, int]
) -> None:
    directory = plane.clusters["east"]
    point(directory, greeters, FIRST)
    with client(plane, f"xds:///{fqdn('greeter')}:{PORT}") as calling:
        eventually(lambda: calling.call() == "first")
        plane.stop()
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        plane.start().ready()
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        point(directory, greeters, SECOND)
        eventually(lambda: calling.call() == "second", 2 * PATIENCE)
