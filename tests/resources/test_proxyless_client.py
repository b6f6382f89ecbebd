"""gRPC's own resolver takes what it is sent, and calls a service by each of its names."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from steersman.model.config import MeshConfig
from steersman.model.objects import Protocol, ServiceType
from steersman.model.proxy import Proxy
from tests.support.ads import FixedADS
from tests.support.mesh import Mesh, cluster, gateway_service, pod, port, service, slice_of
from tests.support.running import free_port, loopback
from tests.support.served import MESSAGES, resources_of, sidecar

POD, CLIENT = loopback(21), loopback(22)
GREETER = """
import sys, grpc
for target in sys.argv[1:]:
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary("/greeter/Greet", request_serializer=bytes, response_deserializer=bytes)
        print({call(b"", timeout=20).decode() for _ in range(10)})
"""


class _Greeter(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"hello")


@pytest.fixture(scope="module")
def served_port() -> Iterator[int]:
    number = free_port(POD)
    server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[_Greeter()])
    server.add_insecure_port(f"{POD}:{number}")
    server.start()
    yield number
    server.stop(None).wait()


def mesh_of(number: int, proxy: Proxy) -> Mesh:
    """A service whose endpoint here speaks mTLS as well, with one more behind a gateway that no plaintext client passes."""
    ports = (port(9081, "grpc", Protocol.GRPC, number),)
    outside = (port(number, "grpc", Protocol.GRPC, number),)
    return Mesh(
        MeshConfig(),
        cluster("east", "network-east"),
        cluster("west", "network-west"),
        service("east", "greeter", ports=ports),
        slice_of("east", "greeter", f"{POD}=greeter-1", ports=(("grpc", number),)),
        pod("east", "greeter-1", POD),
        service("west", "greeter", ports=ports),
        slice_of("west", "greeter", "10.0.0.1=greeter-1", ports=(("grpc", number),)),
        pod("west", "greeter-1", "10.0.0.1"),
        gateway_service("west", "network-west", "192.0.2.2"),
        service("east", "outside", type=ServiceType.EXTERNAL_NAME, external_name=POD, ports=outside),
        proxy,
    )


def test_grpcs_own_client_calls_a_service_by_any_name(served_port: int) -> None:
    proxy = sidecar(CLIENT, name="client", generator="grpc")
    mesh = mesh_of(served_port, proxy)
    tables = {type_url: resources_of(mesh, proxy, type_url) for type_url in MESSAGES}
    with FixedADS({proxy.id: tables}) as ads:
        bootstrap = {
            "xds_servers": [{"server_uri": ads.address, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
            "node": {"id": proxy.id, "metadata": {"GENERATOR": "grpc"}},
        }
        names = ("greeter.default.svc.cluster.local:9081", "greeter.default:9081", "greeter:9081", f"outside:{served_port}")
        run = subprocess.run(
            [sys.executable, "-c", GREETER, *(f"xds:///{name}" for name in names)],
            env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.stdout.splitlines() == ["{'hello'}"] * len(names), run.stderr
        assert ads.rejected == []
