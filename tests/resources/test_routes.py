"""Routes: which Host leads where, and what is tried again."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig, OutboundTrafficPolicy
from steersman.model.objects import GatewayServer
from steersman.model.proxy import Proxy
from steersman.names import RDS
from steersman.resources.collections import OUTBOUND_ROUTES
from tests.support.mesh import Mesh, cluster, gateway, port, service
from tests.support.served import bound, resources_of, router, served, sidecar


def routes(mesh: Mesh, proxy: Proxy) -> dict[str, Any]:
    mesh.put(proxy)
    return served(mesh, proxy, RDS)


def east(*rows: Any, **mesh: Any) -> Mesh:
    return Mesh(MeshConfig(**mesh), cluster("east"), *rows)


def web(**fields: Any) -> Any:
    return service("east", "web", cluster_ips=("10.1.0.1",), **fields)


def hosts(route: Any) -> dict[str, Any]:
    return {host.name: host for host in route.virtual_hosts}


def action(host: Any) -> Any:
    (route,) = host.routes
    assert route.match.prefix == "/"
    return route.route


def test_there_is_a_route_for_each_http_port_named_by_its_number() -> None:
    mesh = east(web(ports=(port(80), port(9080, "http-2"))), service("east", "shop", ports=(port(80),)))
    found = routes(mesh, sidecar())
    assert {name: set(hosts(route)) - {"allow_any"} for name, route in found.items()} == {
        "80": {"web.default.svc.cluster.local:80", "shop.default.svc.cluster.local:80"},
        "9080": {"web.default.svc.cluster.local:9080"},
    }
    to_web = action(hosts(found["9080"])["web.default.svc.cluster.local:9080"])
    assert to_web.cluster == "outbound|9080||web.default.svc.cluster.local"


def test_a_request_may_take_as_long_as_it_takes_and_a_grpc_deadline_is_the_clients() -> None:
    to_web = action(hosts(routes(east(web()), sidecar())["80"])["web.default.svc.cluster.local:80"])
    assert to_web.HasField("timeout")
    assert to_web.timeout.ToNanoseconds() == 0
    assert to_web.max_stream_duration.HasField("grpc_timeout_header_max")
    assert to_web.max_stream_duration.grpc_timeout_header_max.ToNanoseconds() == 0


def test_only_what_no_server_began_to_work_on_is_tried_again_and_elsewhere() -> None:
    retry = action(hosts(routes(east(web()), sidecar())["80"])["web.default.svc.cluster.local:80"]).retry_policy
    assert set(retry.retry_on.split(",")) == {"connect-failure", "refused-stream", "reset-before-request", "unavailable", "cancelled"}
    assert retry.num_retries.value == 2
    assert [one.name for one in retry.retry_host_predicate] == ["envoy.retry_host_predicates.previous_hosts"]


@pytest.mark.parametrize(
    ("policy", "proxy", "last"),
    [
        (OutboundTrafficPolicy.ALLOW_ANY, sidecar(), "allow_any"),
        (OutboundTrafficPolicy.REGISTRY_ONLY, sidecar(), "block_all"),
        (OutboundTrafficPolicy.ALLOW_ANY, bound(unprivileged_ports=True), "block_all"),
    ],
)
def test_a_host_that_is_no_service_passes_or_is_answered_502(policy: OutboundTrafficPolicy, proxy: Proxy, last: str) -> None:
    host = routes(east(web(), outbound_traffic_policy=policy), proxy)["80"].virtual_hosts[-1]
    assert (host.name, list(host.domains)) == (last, ["*"])
    if last == "allow_any":
        assert action(host).cluster == "PassthroughCluster"
    else:
        assert host.routes[0].direct_response.status == 502


def test_a_service_changes_only_the_routes_of_its_own_ports() -> None:
    mesh = east(web(), service("east", "shop", ports=(port(8080),)))
    proxy = sidecar()
    mesh.put(proxy)
    before = resources_of(mesh, proxy, RDS)
    generation = mesh.put(service("east", "late", ports=(port(8080),)))
    after = resources_of(mesh, proxy, RDS)
    assert after["80"] is before["80"]
    assert after["8080"] is not before["8080"]
    assert [ref.key[1] for ref in generation.changed if ref.collection is OUTBOUND_ROUTES] == [8080]


def test_a_virtual_host_is_encoded_once_for_all_routes_in_which_it_stands() -> None:
    mesh = east(web())
    one, other = (sidecar(f"10.0.0.{number}", name=name, namespace=name) for number, name in enumerate(("shop", "bank")))
    mesh.put(one, other)
    first, second = resources_of(mesh, one, RDS)["80"], resources_of(mesh, other, RDS)["80"]
    assert set(map(id, first.parts)) & set(map(id, second.parts))


def test_a_gateways_route_has_no_catch_all_and_no_ports() -> None:
    mesh = east(web(), gateway("east", "gw", GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("*.local",))))
    route = routes(mesh, router())["http.80"]
    assert route.ignore_port_in_host_matching
    assert [list(host.domains) for host in route.virtual_hosts] == [["web.default.svc.cluster.local"]]
