"""gRPC's own xDS clients, with no proxy, calls a service of the mesh by its name, and follows it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import grpc
import pytest

from steersman.model.proxy import Interception
from steersman.server.bootstrap import node_metadata
from tests.live.mesh import CLUSTERS, EAST, fqdn
from tests.support.grpc_clients import COMMANDS, GrpcClient, grpc_client
from tests.support.live import PATIENCE, ControlPlane, eventually, serving
from tests.support.objects import Directory, endpoint, pod, service, slice_of
from tests.support.running import free_port, loopback

FIRST, SECOND = loopback(231), loopback(232)
PORT = 50051
KINDS = pytest.mark.parametrize("kind", COMMANDS)


class Greeter(grpc.GenericRpcHandler):
    """Answers every call with a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._name.encode())


@contextmanager
def client(plane: ControlPlane, kind: str, target: str) -> Iterator[GrpcClient]:
    metadata = node_metadata(cluster="east", namespace="demo", generator="grpc", interception=Interception.NONE)
    with grpc_client(kind, plane.xds, target, {"id": EAST.client.id, "metadata": metadata}) as calling:
        yield calling


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
    plane = ControlPlane(tmp_path_factory.mktemp("grpc"), {"east": CLUSTERS["east"]}, xds={"loadReportingInterval": "1s"})
    plane.clusters["east"].put("greeter.yaml", service("greeter", {"grpc": (PORT, 1)}), pod("greeter-1", FIRST), pod("greeter-2", SECOND))
    with serving(plane):
        yield plane


def point(directory: Directory, greeters: dict[str, int], address: str) -> None:
    """The service runs there and nowhere else."""
    name = "greeter-1" if address == FIRST else "greeter-2"
    directory.put("slice.json", slice_of("greeter", {"grpc": greeters[address]}, [endpoint(name, address)]))


@KINDS
@pytest.mark.parametrize("host", [fqdn("greeter"), "greeter.demo", "greeter"])
def test_it_calls_by_any_name_and_follows_the_endpoints(plane: ControlPlane, greeters: dict[str, int], host: str, kind: str) -> None:
    directory = plane.clusters["east"]
    point(directory, greeters, FIRST)
    eventually(lambda: "port-without-endpoints" not in plane.findings())
    with client(plane, kind, f"xds:///{host}:{PORT}") as calling:
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        (proxy,) = plane.json("/debug/proxies")["proxies"]
        assert {kind["type"]: kind["sync"] for kind in proxy["types"]} == dict.fromkeys(["cds", "eds", "lds", "rds"], "SYNCED")
        assert proxy["agent"].lower().startswith("grpc")
        point(directory, greeters, SECOND)
        eventually(lambda: calling.call() == "second")
        assert {calling.call() for _ in range(5)} == {"second"}
    eventually(partial(disconnected, plane))


@KINDS
def test_it_reports_what_it_calls(plane: ControlPlane, greeters: dict[str, int], kind: str) -> None:
    """Its clusters say so (lrs_server: self); it opens the stream for what it calls."""
    point(plane.clusters["east"], greeters, FIRST)
    with client(plane, kind, f"xds:///{fqdn('greeter')}:{PORT}") as calling:
        eventually(lambda: calling.call() == "first")

        def load() -> dict[str, float]:
            assert calling.call() == "first"
            found = plane.json(f"/debug/explain?proxy={EAST.client.name}&service=greeter.demo:{PORT}")
            return dict(found["ports"][0]["load"][0]) if "load" in found["ports"][0] else {}

        told = eventually(load)
        assert told["issued"] > 0
        assert told["succeeded"] > 0
        assert "failed" not in told
        cluster = f"outbound|{PORT}||{fqdn('greeter')}"
        assert plane.metrics("steersman_load_successful_requests_total")[f'{{cluster="{cluster}",locality=""}}'] > 0
    eventually(partial(disconnected, plane))


def disconnected(plane: ControlPlane) -> bool:
    return not plane.json("/debug/proxies").get("proxies")


@KINDS
def test_calls_go_on_while_the_server_is_away_and_endpoints_are_followed_once_it_is_back(
    plane: ControlPlane, greeters: dict[str, int], kind: str
) -> None:
    directory = plane.clusters["east"]
    point(directory, greeters, FIRST)
    with client(plane, kind, f"xds:///{fqdn('greeter')}:{PORT}") as calling:
        eventually(lambda: calling.call() == "first")
        plane.stop()
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        plane.start().ready()
        assert [calling.call() for _ in range(5)] == ["first"] * 5
        point(directory, greeters, SECOND)
        eventually(lambda: calling.call() == "second", 2 * PATIENCE)
