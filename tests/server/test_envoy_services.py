"""Real Envoys that ask for each type over a stream of its own."""

import asyncio
import base64
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.resources.resource import Resource
from steersman.server.bootstrap import XDS_CLUSTER, envoy_bootstrap
from tests.support.live import clusters, listeners, refusals, warming
from tests.support.pki import Authority
from tests.support.running import Envoy, free_port, http_app, started_envoy
from tests.support.static import StaticServer, static_server, until
from tests.support.tables import APPS, MODES, PROXY, endpoints, made, route, sees, wave
from tests.support.tables import cluster as over_ads
from tests.support.xds import Mesh

pytestmark = pytest.mark.envoy

BOTH = pytest.mark.parametrize("variant", list(Variant))


def over_its_own(variant: Variant) -> dict[str, Any]:
    """A config source: the service of the type, at the control plane."""
    source = {
        "api_type": "DELTA_GRPC" if variant is Variant.DELTA else "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
    }
    return {"api_config_source": source, "resource_api_version": "V3"}


@asynccontextmanager
async def at(server: StaticServer, variant: Variant, directory: Path, *, ads: bool) -> AsyncIterator[Envoy]:
    """A ready Envoy that asks for clusters and listeners each over a stream of its own; `ads`: what these refer to it may have over ADS."""
    bootstrap = envoy_bootstrap(node_id="bare", xds=server.address, admin=f"{PROXY}:{free_port(PROXY)}", mode=MODES[variant])
    dynamic = bootstrap["dynamic_resources"]
    dynamic["cds_config"] = dynamic["lds_config"] = over_its_own(variant)
    if not ads:
        del dynamic["ads_config"]
    with ExitStack() as stack:
        envoy = await asyncio.to_thread(stack.enter_context, started_envoy(bootstrap, directory, "envoy"))
        try:
            await asyncio.to_thread(envoy.wait_ready)
            yield envoy
            assert await asyncio.to_thread(refusals, envoy) == {}
        finally:
            await asyncio.to_thread(stack.close)


def cluster(name: str, variant: Variant, **fields: Any) -> Resource:
    eds = {"eds_config": over_its_own(variant)}
    return made(Cluster(), name, {"type": "EDS", "eds_cluster_config": eds, "connect_timeout": "1s", **fields})


def listener(name: str, port: int, route: str, variant: Variant) -> Resource:
    """One that terminates TLS."""
    router = {"@type": f"type.googleapis.com/{Router.DESCRIPTOR.full_name}"}
    manager = {
        "@type": f"type.googleapis.com/{HttpConnectionManager.DESCRIPTOR.full_name}",
        "stat_prefix": name,
        "rds": {"config_source": over_its_own(variant), "route_config_name": route},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    certificates = [{"name": "own", "sds_config": over_its_own(variant)}]
    tls = {
        "@type": f"type.googleapis.com/{DownstreamTlsContext.DESCRIPTOR.full_name}",
        "common_tls_context": {"tls_certificate_sds_secret_configs": certificates},
    }
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
    bind = {"socket_address": {"address": PROXY, "port_value": port}}
    return made(Listener(), name, {"name": name, "address": bind, "filter_chains": [chain]})


def secret(name: str, authority: Authority) -> Resource:
    leaf = authority.leaf("spiffe://cluster.local/ns/default/sa/own")
    pem = {"certificate_chain": leaf.chain, "private_key": leaf.key}
    held = {field: {"inline_bytes": base64.b64encode(text).decode()} for field, text in pem.items()}
    return made(Secret(), name, {"tls_certificate": held})


def asked(port: int, root: bytes) -> tuple[int, int, int]:
    """The status of a request over TLS that trusts this root, the port of the application that answered, and the certificate's number."""
    context = ssl.create_default_context(cadata=root.decode())
    context.check_hostname = False
    connection = HTTPSConnection(PROXY, port, context=context, timeout=5)
    try:
        connection.connect()
        der: bytes = connection.sock.getpeercert(binary_form=True)  # type: ignore[assignment]  # there is one
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        served = int(json.loads(body)["port"]) if answer.status == 200 else 0
        return answer.status, served, x509.load_der_x509_certificate(der).serial_number
    finally:
        connection.close()


@BOTH
async def test_every_type_over_a_stream_of_its_own(variant: Variant, tmp_path: Path) -> None:
    mesh, authority = Mesh(), Authority()
    root = authority.root.bundle
    port, app, other = free_port(PROXY), free_port(APPS), free_port(APPS)
    wave(
        mesh,
        {
            CDS: [cluster("a", variant), cluster("b", variant)],
            EDS: [endpoints("a", app), endpoints("b", other)],
            LDS: [listener("l", port, "r", variant)],
            RDS: [route("r", "a")],
            SDS: [secret("own", authority)],
        },
    )
    async with static_server(mesh) as server, at(server, variant, tmp_path, ads=False) as envoy:
        with http_app(APPS, app), http_app(APPS, other):
            first = await sees(lambda: asked(port, root))
            assert first[:2] == (200, app)
            services = Counter(place.connection.status().service for place in server.places)
            assert services == {"cds": 1, "eds": 2, "lds": 1, "rds": 1, "sds": 1}
            wave(mesh, {SDS: [secret("own", authority)]})
            await sees(lambda: asked(port, root)[2] != first[2])
            wave(mesh, {RDS: [route("r", "b")]})
            await sees(lambda: asked(port, root)[:2] == (200, other))
            wave(mesh, {EDS: [endpoints("b", app)]})
            await sees(lambda: asked(port, root)[:2] == (200, app))
            wave(mesh, {CDS: [cluster("b", variant, connect_timeout="7s")]}, {CDS: ["a"], EDS: ["a"]})
            await sees(lambda: clusters(envoy) == {"b"} and warming(envoy) == {}, 5.0)
            wave(mesh, {}, {LDS: ["l"]})
            await sees(lambda: listeners(envoy) == set())
    assert server.counters.rejects == {}


@BOTH
async def test_a_cluster_that_is_changed_on_one_stream_gets_its_endpoints_by_another(variant: Variant, tmp_path: Path) -> None:
    """Clusters have a stream of their own, and say that their endpoints come over ADS: Envoy would warm each change for 15 s."""
    mesh = Mesh()
    wave(mesh, {CDS: [over_ads("a"), over_ads("b")], EDS: [endpoints("a", 1), endpoints("b", 2)]})
    async with static_server(mesh) as server, at(server, variant, tmp_path, ads=True) as envoy:
        await sees(lambda: clusters(envoy) == {"a", "b"})
        pushed = server.counters.pushed_resources["eds"]
        for seconds in (2, 3, 4):
            wave(mesh, {CDS: [over_ads("a", connect_timeout=f"{seconds}s")]})
            await sees(lambda modified=seconds - 1: (modifications(envoy), warming(envoy)) == (modified, {}), 5.0)  # type: ignore[misc]
        assert server.counters.pushed_resources["eds"] == pushed + 3, "of the changed cluster alone"


@BOTH
async def test_so_does_one_that_was_changed_while_the_server_was_away(variant: Variant, tmp_path: Path) -> None:
    """Its streams come back in any order, each in its own time."""
    mesh = Mesh()
    wave(mesh, {CDS: [over_ads("a"), over_ads("b")], EDS: [endpoints("a", 1), endpoints("b", 2)]})
    async with AsyncExitStack() as servers:
        server = await servers.enter_async_context(static_server(mesh))
        port = int(server.address.rpartition(":")[2])
        async with at(server, variant, tmp_path, ads=True) as envoy:
            await sees(lambda: clusters(envoy) == {"a", "b"})
            for times in (1, 2, 3):
                await server.xds.drain(0.1)
                await server.xds.stop()
                wave(mesh, {CDS: [over_ads("a", connect_timeout=f"{1 + times}s")]})
                server = await servers.enter_async_context(static_server(mesh, port=port))
                await sees(lambda times=times: modifications(envoy) == times, 20)  # type: ignore[misc]
                await until(lambda server=server: any(EDS in place.holds for place in server.places), 20)  # type: ignore[misc]
                await sees(lambda: warming(envoy) == {}, 5.0)


def modifications(envoy: Envoy) -> int:
    return envoy.stats("cluster_modified$")["cluster_manager.cluster_modified"]
