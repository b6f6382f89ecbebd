"""Listeners: what Envoy is told to do with a connection. What it then does is in test_traffic and test_capture."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig, OutboundTrafficPolicy, Passthrough
from steersman.model.objects import GatewayServer, Protocol, TLSMode
from steersman.model.proxy import Interception, Proxy
from steersman.names import ISTIO_ALPN, LDS, RDS
from steersman.resources.collections import INBOUND_LISTENERS, OUTBOUND_LISTENERS, OUTBOUND_ROUTES, VIRTUAL_HOSTS
from tests.support.mesh import Mesh, cluster, gateway, pod, port, service, slice_of
from tests.support.meshes import PROXIES, everything
from tests.support.pgv import problems, unpacked
from tests.support.served import bound, parsed, resources_of, router, served, sidecar

WEB = {"app": "web"}
TCP = port(3306, "tcp", Protocol.TCP, 3306)


def listeners(mesh: Mesh, proxy: Proxy) -> dict[str, Any]:
    mesh.put(proxy)
    return served(mesh, proxy, LDS)


def east(*rows: Any, **mesh: Any) -> Mesh:
    return Mesh(MeshConfig(**mesh), cluster("east", "net-east"), *rows)


def web() -> list[Any]:
    ports = (port(80, target=8080), TCP)
    return [
        service("east", "web", cluster_ips=("10.1.0.1",), ports=ports, selector=WEB),
        slice_of("east", "web", "10.0.0.9=web-1", ports=(("http", 8080), ("tcp", 3306))),
        pod("east", "web-1", "10.0.0.9", labels=WEB),
    ]


def addresses(listener: Any) -> list[str]:
    every = [listener.address, *(one.address for one in listener.additional_addresses)]
    return [f"{one.socket_address.address} {one.socket_address.port_value}" for one in every]


def chains(listener: Any) -> dict[str, Any]:
    return {chain.name: chain for chain in listener.filter_chains}


def leads_to(chain: Any) -> str:
    *_, last = chain.filters
    return str(unpacked(last.typed_config).cluster)  # type: ignore[attr-defined]


def matched(chain: Any) -> tuple[int, str, tuple[str, ...]]:
    match = chain.filter_chain_match
    return match.destination_port.value, match.transport_protocol, tuple(match.application_protocols)


# -- everything ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", PROXIES)
@pytest.mark.parametrize("type_url", [LDS, RDS])
def test_every_listener_and_route_keeps_envoys_rules_and_is_encoded_as_the_runtime_would(who: str, type_url: str) -> None:
    found = resources_of(everything(), PROXIES[who], type_url)
    for name, resource in found.items():
        message = parsed(type_url, resource)
        assert problems(message) == []
        assert message.name == name
        assert message.SerializeToString(deterministic=True) == resource.body, f"{name} is spliced out of order"


def test_equal_facts_in_another_order_give_equal_bytes() -> None:
    rows = [*web(), service("east", "shop", ports=(port(80),)), service("east", "db", cluster_ips=("10.1.0.2",), ports=(TCP,))]
    one, other = east(*rows), east(*reversed(rows))
    for type_url in (LDS, RDS):
        first, second = ({name: item.version for name, item in resources_of(mesh, _in(mesh), type_url).items()} for mesh in (one, other))
        assert first == second
        assert first


def _in(mesh: Mesh) -> Proxy:
    proxy = sidecar()
    mesh.put(proxy)
    return proxy


def test_proxies_of_several_namespaces_share_the_bytes_of_equal_listeners() -> None:
    mesh = east(*web())
    here, there = sidecar(), sidecar("10.0.0.10", name="other", namespace="shop")
    mesh.put(here, there)
    ours, theirs = resources_of(mesh, here, LDS), resources_of(mesh, there, LDS)
    assert ours["10.1.0.1_3306"] is theirs["10.1.0.1_3306"]
    assert ours["0.0.0.0_80"] is theirs["0.0.0.0_80"]


def test_a_new_service_changes_what_it_adds_and_nothing_else() -> None:
    mesh = east(*web())
    proxy = _in(mesh)
    resources_of(mesh, proxy, LDS), resources_of(mesh, proxy, RDS)
    generation = mesh.put(service("east", "db", cluster_ips=("10.1.0.2",), ports=(TCP, port(80))))
    touched = {ref.collection for ref in generation.changed}
    assert OUTBOUND_ROUTES in touched
    assert not touched & {OUTBOUND_LISTENERS, INBOUND_LISTENERS, VIRTUAL_HOSTS}
    assert "10.1.0.2_3306" in resources_of(mesh, proxy, LDS)


# -- outbound -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "unknown_to"),
    [(OutboundTrafficPolicy.ALLOW_ANY, "PassthroughCluster"), (OutboundTrafficPolicy.REGISTRY_ONLY, "BlackHoleCluster")],
)
def test_what_reaches_no_service_passes_or_not_by_the_meshs_policy(policy: OutboundTrafficPolicy, unknown_to: str) -> None:
    found = listeners(east(*web(), outbound_traffic_policy=policy), sidecar())
    capture = found["virtualOutbound"]
    assert capture.use_original_dst.value
    assert addresses(capture) == ["0.0.0.0 15001"]
    assert leads_to(chains(capture)["virtualOutbound-catchall-tcp"]) == unknown_to
    assert leads_to(found["0.0.0.0_80"].default_filter_chain) == unknown_to


@pytest.mark.parametrize(("name", "number"), [("virtualOutbound", 15001), ("virtualInbound", 15006)])
def test_connections_to_a_capture_port_itself_end_there_instead_of_going_round(name: str, number: int) -> None:
    chain = chains(listeners(east(*web()), sidecar())[name])[f"{name}-blackhole"]
    assert matched(chain) == (number, "", ())
    assert leads_to(chain) == "BlackHoleCluster"


def test_captured_listeners_are_matched_by_destination_and_bind_nothing() -> None:
    found = listeners(east(*web()), sidecar("10.0.0.200"))
    http, tcp = found["0.0.0.0_80"], found["10.1.0.1_3306"]
    assert http.HasField("bind_to_port")
    assert tcp.HasField("bind_to_port")
    assert not http.bind_to_port.value
    assert not tcp.bind_to_port.value
    assert addresses(http) == ["0.0.0.0 80"]
    assert addresses(tcp) == ["10.1.0.1 3306"]
    assert leads_to(chains(tcp)["tcp"]) == "outbound|3306||web.default.svc.cluster.local"
    assert matched(chains(http)["http"])[2] == ("http/1.0", "http/1.1", "h2c")
    assert [one.name for one in http.listener_filters] == ["envoy.filters.listener.http_inspector"]
    assert http.HasField("listener_filters_timeout")


def test_wildcard_listeners_stand_on_every_family_of_the_proxy() -> None:
    for proxy, hosts in (
        (sidecar("fd00::9"), ["::"]),
        (sidecar("10.0.0.9", instance_ips=("10.0.0.9", "fd00::9")), ["0.0.0.0", "::"]),
    ):
        found = listeners(east(*web()), proxy)
        assert addresses(found["virtualOutbound"]) == [f"{host} 15001" for host in hosts]
        assert addresses(found["virtualInbound"]) == [f"{host} 15006" for host in hosts]
        assert addresses(found["0.0.0.0_80"]) == [f"{host} 80" for host in hosts]


def test_a_connection_to_one_pod_of_a_headless_service_is_for_that_pod() -> None:
    mesh = east(service("east", "kafka", headless=True, ports=(TCP,)), slice_of("east", "kafka", "10.0.0.1", ports=(("tcp", 3306),)))
    *_, last = chains(listeners(mesh, sidecar())["10.0.0.1_3306"])["tcp"].filters
    metadata = unpacked(last.typed_config).metadata_match.filter_metadata["envoy.lb"]  # type: ignore[attr-defined]
    assert dict(metadata) == {"address": "10.0.0.1"}


def test_bound_listeners_share_their_port_with_nobody() -> None:
    """With SO_REUSEPORT a second proxy on one machine would get every other connection, and nobody would be told."""
    found = listeners(east(*web()), bound(outbound_address="127.0.0.7", unprivileged_ports=True))
    assert addresses(found["0.0.0.0_80"]) == ["127.0.0.7 80"]
    assert addresses(found["10.1.0.1_3306"]) == ["127.0.0.7 3306"]
    assert addresses(found["10.0.0.9_8080"]) == ["10.0.0.9 8080"]
    for listener in found.values():
        assert listener.HasField("enable_reuse_port")
        assert not listener.enable_reuse_port.value
        assert not listener.HasField("bind_to_port")


def test_tproxy_is_transparent_and_shows_the_application_its_callers_address() -> None:
    found = listeners(east(*web()), sidecar(interception=Interception.TPROXY))
    assert found["virtualOutbound"].transparent.value
    assert found["virtualInbound"].transparent.value
    filters = [one.name.rpartition(".")[2] for one in found["virtualInbound"].listener_filters]
    assert filters == ["original_dst", "original_src", "tls_inspector"]
    redirected = listeners(east(*web()), sidecar())["virtualInbound"]
    assert [one.name.rpartition(".")[2] for one in redirected.listener_filters] == ["original_dst", "tls_inspector"]
    assert not redirected.HasField("transparent")


# -- inbound ------------------------------------------------------------------------------------------------------------------


def test_inbound_connections_are_told_apart_by_port_tls_and_alpn() -> None:
    found = chains(listeners(east(*web()), sidecar())["virtualInbound"])
    assert {name: matched(chain) for name, chain in found.items()} == {
        "virtualInbound-blackhole": (15006, "", ()),
        "inbound|3306||-mtls": (3306, "tls", ISTIO_ALPN),
        "inbound|3306||-foreign-tls": (3306, "tls", ()),
        "inbound|3306||-plaintext": (3306, "raw_buffer", ()),
        "inbound|8080||-mtls": (8080, "tls", ISTIO_ALPN),
        "inbound|8080||-plaintext": (8080, "raw_buffer", ()),
        "virtualInbound-mtls": (0, "tls", ISTIO_ALPN),
        "virtualInbound-foreign-tls": (0, "tls", ()),
        "virtualInbound-plaintext": (0, "raw_buffer", ()),
    }
    assert {name for name, chain in found.items() if chain.HasField("transport_socket")} == {name for name in found if "-mtls" in name}
    assert leads_to(found["inbound|3306||-mtls"]) == "inbound|3306||"
    assert leads_to(found["virtualInbound-mtls"]) == "InboundPassthroughCluster"


def test_an_mtls_chain_takes_workloads_of_the_meshs_trust_domains_only() -> None:
    mesh = Mesh(MeshConfig(trust_domain="one.example"), cluster("east"), cluster("west", trust_domain="two.example"), *web())
    for name in ("inbound|8080||-mtls", "inbound|3306||-mtls", "virtualInbound-mtls"):
        context: Any = unpacked(chains(listeners(mesh, sidecar())["virtualInbound"])[name].transport_socket.typed_config)
        assert context.require_client_certificate.value
        common = context.common_tls_context
        combined = common.combined_validation_context
        accepted = combined.default_validation_context.match_typed_subject_alt_names
        assert [one.matcher.prefix for one in accepted] == ["spiffe://one.example/", "spiffe://two.example/"]
        assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["default"]
        assert combined.validation_context_sds_secret_config.name == "ROOTCA"


def test_http_tells_the_application_its_peer_whether_over_mtls_or_in_plaintext() -> None:
    found = chains(listeners(east(*web()), sidecar())["virtualInbound"])
    for name in ("inbound|8080||-mtls", "inbound|8080||-plaintext"):
        manager: Any = unpacked(found[name].filters[0].typed_config)
        assert manager.forward_client_cert_details == type(manager).SANITIZE_SET
        assert manager.set_current_client_cert_details.uri
        assert manager.route_config.virtual_hosts[0].routes[0].route.cluster == "inbound|8080||"


# -- gateways -----------------------------------------------------------------------------------------------------------------


def tls_server(*hosts: str, mode: TLSMode = TLSMode.AUTO_PASSTHROUGH, protocol: str = "TLS", number: int = 15443) -> GatewayServer:
    return GatewayServer(port=number, port_name="tls", protocol=protocol, hosts=hosts, tls_mode=mode)


def meshed(name: str, address: str) -> list[Any]:
    return [service("east", name), slice_of("east", name, f"{address}={name}-1"), pod("east", f"{name}-1", address)]


def test_a_passthrough_listener_changes_by_one_chain_with_one_service() -> None:
    mesh = east(gateway("east", "gw", tls_server("*.local")), *meshed("web", "10.0.0.1"))
    before = chains(listeners(mesh, router())["0.0.0.0_15443"])
    mesh.put(*meshed("shop", "10.0.0.2"))
    after = chains(listeners(mesh, router())["0.0.0.0_15443"])
    assert set(after) - set(before) == {"outbound_.80_._.shop.default.svc.cluster.local"}
    for name, chain in after.items():
        assert list(chain.filter_chain_match.server_names) == [name]
        assert matched(chain)[2] == ISTIO_ALPN
        assert leads_to(chain) == name
        assert not chain.HasField("transport_socket")


def test_sni_cluster_needs_one_chain_and_admits_only_names_of_passthrough_clusters() -> None:
    mesh = east(gateway("east", "gw", tls_server("*.local")), *meshed("web", "10.0.0.1"), passthrough=Passthrough.SNI_CLUSTER)
    (chain,) = listeners(mesh, router())["0.0.0.0_15443"].filter_chains
    assert list(chain.filter_chain_match.server_names) == ["*.local"]
    first, second, third = (unpacked(one.typed_config) for one in chain.filters)
    policy = first.rules.policies["sni"]  # type: ignore[attr-defined]
    assert [one.requested_server_name.prefix for one in policy.permissions] == ["outbound_."]
    assert second.DESCRIPTOR.name == "SniCluster"
    assert third.cluster == "BlackHoleCluster"  # type: ignore[attr-defined]


def test_a_gateway_doesnt_believe_strangers_about_themselves() -> None:
    server = GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("*",))
    mesh = east(gateway("east", "gw", server, tls_server("*", mode=TLSMode.ISTIO_MUTUAL, protocol="HTTPS", number=443)), *web())
    found = listeners(mesh, router())
    plain: Any = unpacked(found["0.0.0.0_80"].filter_chains[0].filters[0].typed_config)
    assert plain.use_remote_address.value
    assert plain.rds.route_config_name == "http.80"
    (chain,) = found["0.0.0.0_443"].filter_chains
    mutual: Any = unpacked(chain.filters[0].typed_config)
    assert mutual.rds.route_config_name == "https.443.tls.gw.istio-system"
    assert list(chain.filter_chain_match.server_names) == []
    assert mutual.forward_client_cert_details == type(mutual).SANITIZE_SET


# -- gRPC ---------------------------------------------------------------------------------------------------------------------


def test_a_grpc_client_finds_a_listener_under_each_name_that_it_may_dial() -> None:
    mesh = east(service("east", "echo", ports=(port(50051, "grpc", Protocol.GRPC), port(53, "dns", Protocol.UDP))))
    proxy = sidecar(generator="grpc")
    found = listeners(mesh, proxy)
    names = ("echo", "echo.default", "echo.default.svc", "echo.default.svc.cluster.local")
    assert set(found) == {f"{name}:50051" for name in names}
    routes = served(mesh, proxy, RDS)
    for listener in found.values():
        manager: Any = unpacked(listener.api_listener.api_listener)
        route = routes[manager.rds.route_config_name]
        assert route.virtual_hosts[0].routes[0].route.cluster == "outbound|50051||echo.default.svc.cluster.local"
        assert list(route.virtual_hosts[0].domains) == ["*"]
