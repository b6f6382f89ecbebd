"""The services of one type each of a running server, and real Envoys that ask them; what its CSDS says of them."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus
from envoy.service.status.v3.csds_pb2 import ClientStatusRequest
from envoy.service.status.v3.csds_pb2_grpc import ClientStatusDiscoveryServiceStub
from grpc import insecure_channel

from steersman.server.bootstrap import XDS_CLUSTER
from tests.live.mesh import CLUSTERS, EAST, HTTP, fill, outbound
from tests.support.live import (
    ControlPlane,
    Workload,
    clusters,
    config,
    endpoints,
    envoys,
    eventually,
    listeners,
    refusals,
    serving,
    warming,
)
from tests.support.objects import endpoint, pod, service, slice_of
from tests.support.running import Envoy, free_port, http_app, started_envoy

pytestmark = pytest.mark.envoy

ACKED = ClientResourceStatus.ACKED
STATIC = Workload("static-1", 6)
APP = Workload("local-1", 7)
LOCAL = outbound("local", 8000)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("services"), {"east": CLUSTERS["east"]})
    fill(plane)
    with serving(plane):
        yield plane


def over(variant: str) -> dict[str, Any]:
    """A config source: the service of one type, in this variant ("delta" or "sotw")."""
    source = {
        "api_type": "DELTA_GRPC" if variant == "delta" else "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
    }
    return {"api_config_source": source, "resource_api_version": "V3"}


def test_clusters_and_listeners_over_streams_of_their_own_and_the_rest_over_ads(plane: ControlPlane) -> None:
    bootstrap = EAST.client.bootstrap(plane.xds)
    bootstrap["dynamic_resources"]["cds_config"] = over("delta")
    bootstrap["dynamic_resources"]["lds_config"] = over("sotw")
    with started_envoy(bootstrap, plane.directory, "mixed") as envoy:
        envoy.wait_ready()
        eventually(lambda: outbound("web", HTTP) in clusters(envoy) and len(listeners(envoy)) > 3)
        assert (refusals(envoy), warming(envoy)) == ({}, {})
        streams = plane.json(f"/debug/proxies?proxy={EAST.client.name}")["proxies"]
        told = {one["service"]: (one["protocol"], [kind["type"] for kind in one["types"]]) for one in streams}
        assert told == {"cds": ("delta", ["cds"]), "lds": ("sotw", ["lds"]), "ads": ("delta", ["eds", "rds", "sds"])}
        assert plane.metrics("steersman_proxies") == {'{type="sidecar"}': 1.0}
        assert plane.metrics("steersman_facts_total")['{event="upsert",kind="Proxy"}'] == 1, "its streams describe one proxy"
        assert plane.versions(EAST.client.name).keys() > {("cds", outbound("web", HTTP)), ("eds", outbound("web", HTTP))}
        changes_of_a_cluster_warm_at_once(plane, envoy)


def changes_of_a_cluster_warm_at_once(plane: ControlPlane, envoy: Envoy) -> None:
    """The identities behind a service are part of its cluster, whose endpoints come by another stream."""
    before = modifications(envoy)
    new = "10.0.3.99"
    plane.clusters["east"].put(
        "more.json",
        pod("web-9", new, account="another"),
        slice_of("web", {"http": 18080}, [endpoint("web-9", new)], suffix="more"),
    )
    eventually(lambda: modifications(envoy) > before and warming(envoy) == {}, 5.0)
    eventually(lambda: f"{new}:18080" in endpoints(envoy, outbound("web", HTTP)))
    assert refusals(envoy) == {}


def modifications(envoy: Envoy) -> int:
    return envoy.stats("cluster_modified$")["cluster_manager.cluster_modified"]


@pytest.mark.parametrize("variant", ["delta", "sotw"])
def test_a_static_cluster_and_a_static_listener_take_endpoints_and_routes_alone(plane: ControlPlane, variant: str) -> None:
    port, app, other = (free_port(ip) for ip in (STATIC.ip, APP.ip, APP.ip))

    def local(target: int) -> None:
        ready = [endpoint(APP.name, APP.ip)]
        plane.clusters["east"].put(
            "local.yaml",
            service("local", {"http": (8000, target)}, ip="10.96.7.7"),
            pod(APP.name, APP.ip, labels={}),
            slice_of("local", {"http": target}, ready),
        )

    local(app)
    with started_envoy(static_bootstrap(plane, variant, port), plane.directory, f"static-{variant}") as envoy:
        envoy.wait_ready()
        with http_app(APP.ip, app), http_app(APP.ip, other):
            eventually(lambda: served_by(port) == app)
            local(other)
            eventually(lambda: served_by(port) == other)
        streams = plane.json(f"/debug/proxies?proxy={STATIC.name}")["proxies"]
        assert {(one["service"], one["protocol"]) for one in streams} == {("eds", variant), ("rds", variant)}
    eventually(lambda: plane.json(f"/debug/proxies?proxy={STATIC.name}") == {})


def static_bootstrap(plane: ControlPlane, variant: str, port: int) -> dict[str, Any]:
    """A cluster and a listener that are written down; their endpoints and routes come from the control plane, and nothing else does."""
    bootstrap = STATIC.bootstrap(plane.xds)
    del bootstrap["dynamic_resources"]
    bootstrap["static_resources"]["clusters"].append(
        {"name": LOCAL, "type": "EDS", "eds_cluster_config": {"eds_config": over(variant)}, "connect_timeout": "1s"}
    )
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "static",
        "rds": {"config_source": over(variant), "route_config_name": "8000"},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    bootstrap["static_resources"]["listeners"] = [
        {
            "name": "static",
            "address": {"socket_address": {"address": STATIC.ip, "port_value": port}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
        }
    ]
    return bootstrap


def served_by(port: int) -> int:
    """The port of the application that answers a request for the service through the static listener; 0 for none."""
    connection = HTTPConnection(STATIC.ip, port, timeout=5)
    try:
        connection.request("GET", "/", headers={"host": "local.demo.svc.cluster.local:8000"})
        answer = connection.getresponse()
        body = answer.read()
        return int(json.loads(body)["port"]) if answer.status == 200 else 0
    finally:
        connection.close()


def test_csds_says_of_an_envoy_what_the_envoy_says_of_itself(plane: ControlPlane) -> None:
    with envoys(plane, EAST.web) as running, insecure_channel(plane.inspect) as channel:
        envoy = running[EAST.web.name]
        service = ClientStatusDiscoveryServiceStub(channel)
        request = ClientStatusRequest()
        request.node_matchers.add().node_id.contains = f"~{EAST.web.name}."

        def told() -> dict[tuple[str, str], Any]:
            [one] = service.FetchClientStatus(request, timeout=10).config
            return {(found.type_url.rpartition(".")[2], found.name): found for found in one.generic_xds_configs}

        eventually(lambda: {found.client_status for found in told().values()} == {ACKED})
        found = told()
        assert {kind for kind, _ in found} == {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Secret"}
        assert versions(found, "Cluster") == {
            one["cluster"]["name"]: one["version_info"] for one in config(envoy, "dynamic_active_clusters")
        }
        assert versions(found, "Listener") == {
            one["name"]: one["active_state"]["version_info"] for one in config(envoy, "dynamic_listeners")
        }
        assert b"PRIVATE KEY" not in b"".join(one.SerializeToString() for one in found.values())
        assert time.time() - found["Cluster", outbound("web", HTTP)].last_updated.seconds < 60


def versions(found: dict[tuple[str, str], Any], kind: str) -> dict[str, str]:
    return {name: one.version_info for (of, name), one in found.items() if of == kind}
