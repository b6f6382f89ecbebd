"""Through which addresses a network is reached."""

import pytest

from steersman.model.config import MeshConfig, NetworkConfig, NetworkEndpoints, NetworkGatewayConfig
from steersman.model.ids import ClusterID, NetworkID
from steersman.model.mesh import NetworkGateways
from steersman.model.objects import Protocol, Row, ServiceType
from steersman.names import GATEWAY_PORT_LABEL, NETWORK_LABEL
from steersman.registry.collections import GATEWAY_ADDRESSES, NETWORK_GATEWAYS, RESOLVED
from tests.support.mesh import Mesh, cluster, gateway_service, node, port, service

NET = NetworkID("net")


def gateways(mesh: Mesh) -> NetworkGateways:
    return mesh.ask(NETWORK_GATEWAYS, NET)


def found(*rows: Row) -> list[tuple[str, int, str]]:
    return [(gateway.address, gateway.port, gateway.cluster) for gateway in gateways(Mesh(*rows)).gateways]


def ignored(*rows: Row) -> list[str]:
    return [f"{ref}: {reason}" for ref, reason in gateways(Mesh(*rows)).ignored]


def configured(*entries: NetworkGatewayConfig, registry: str = "") -> MeshConfig:
    claims = (NetworkEndpoints(from_registry=ClusterID(registry)),) if registry else ()
    return MeshConfig(networks=(NetworkConfig(name=NET, endpoints=claims, gateways=entries),))


# -- labelled Services --------------------------------------------------------------------------------------------------------


def test_a_labelled_load_balancer_is_a_gateway_by_its_ingress_and_external_addresses() -> None:
    rows = (
        gateway_service("west", "net", "192.0.2.2", external_ips=("192.0.2.1",)),
        gateway_service("east", "net", "2001:db8::1"),
        gateway_service("east", "other", "192.0.2.9", name="other"),
    )
    assert found(*rows) == [("192.0.2.1", 15443, "west"), ("192.0.2.2", 15443, "west"), ("2001:db8::1", 15443, "east")]


def test_external_ips_of_any_type_of_service_count() -> None:
    assert found(gateway_service("west", "net", type=ServiceType.CLUSTER_IP, external_ips=("192.0.2.1",))) == [("192.0.2.1", 15443, "west")]


def test_the_ingress_of_a_service_that_is_no_load_balancer_any_more_does_not() -> None:
    assert found(gateway_service("west", "net", "192.0.2.2", type=ServiceType.CLUSTER_IP)) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("15444", 15444), ("", 15443), ("x", 15443), ("0", 15443), ("70000", 15443), ("-1", 15443)],
)
def test_the_label_says_the_port_and_a_bad_one_means_the_default(text: str, number: int) -> None:
    row = gateway_service("west", "net", "192.0.2.1", number=number, labels={GATEWAY_PORT_LABEL: text})
    assert found(row) == [("192.0.2.1", number, "west")]
    is_bad = text not in ("", str(number))
    assert bool(ignored(row)) is is_bad


@pytest.mark.parametrize(
    "ports", [(), (port(443, "tls", Protocol.TCP),), (port(15443, "udp", Protocol.UDP),)], ids=["no port", "another", "UDP"]
)
def test_a_service_that_does_not_expose_the_port_is_no_gateway(ports: tuple[object, ...]) -> None:
    row = gateway_service("west", "net", "192.0.2.1", ports=ports)
    assert found(row) == []
    assert ignored(row) == ["Service west/istio-system/eastwest: has no TCP port 15443"]


def test_a_service_without_an_address_says_what_is_missing() -> None:
    assert ignored(gateway_service("west", "net")) == [
        "Service west/istio-system/eastwest: has no ingress address yet (status.loadBalancer), and no externalIPs"
    ]
    assert ignored(gateway_service("west", "net", type=ServiceType.CLUSTER_IP)) == [
        "Service west/istio-system/eastwest: is of type ClusterIP without externalIPs, so nothing reaches it from outside"
    ]


def test_a_node_port_service_stands_at_the_nodes_that_it_selects_behind_its_node_port() -> None:
    row = gateway_service(
        "west",
        "net",
        type=ServiceType.NODE_PORT,
        ports=(port(15443, "tls", Protocol.TCP, node_port=31443),),
        node_selector=(("role", "ingress"),),
    )
    nodes = (
        node("west", "n1", labels=(("role", "ingress"),), addresses=("192.0.2.1", "192.0.2.2")),
        node("west", "n2", addresses=("192.0.2.3",)),
        node("east", "n1", labels=(("role", "ingress"),), addresses=("192.0.2.4",)),
    )
    assert found(row, *nodes) == [("192.0.2.1", 31443, "west"), ("192.0.2.2", 31443, "west")]
    assert ignored(row) == [
        "Service west/istio-system/eastwest: no node that its annotation traffic.istio.io/nodeSelector selects has an address"
    ]


def test_a_node_port_service_that_selects_none_stands_at_every_node_and_without_a_node_port_at_the_port_itself() -> None:
    row = gateway_service("west", "net", type=ServiceType.NODE_PORT)
    assert found(row, node("west", "n1", addresses=("192.0.2.1",))) == [("192.0.2.1", 15443, "west")]


def test_a_node_that_comes_later_is_one_more_gateway() -> None:
    mesh = Mesh(gateway_service("west", "net", type=ServiceType.NODE_PORT))
    assert gateways(mesh).gateways == ()
    mesh.put(node("west", "n1", addresses=("192.0.2.1",)))
    assert len(gateways(mesh).gateways) == 1


# -- mesh.networks ------------------------------------------------------------------------------------------------------------


def test_an_address_of_the_configuration_belongs_to_no_cluster() -> None:
    rows = (configured(NetworkGatewayConfig(address="192.0.2.1", port=443)), gateway_service("west", "net", "192.0.2.1", number=15443))
    assert found(*rows) == [("192.0.2.1", 443, ""), ("192.0.2.1", 15443, "west")]


def test_an_address_stands_once_a_cluster_however_many_objects_give_it() -> None:
    mesh = Mesh(
        configured(NetworkGatewayConfig(address="192.0.2.1"), NetworkGatewayConfig(address="192.0.2.1")),
        gateway_service("west", "net", "192.0.2.1", "192.0.2.1", name="b", created="2026-01-01T00:00:00Z"),
        gateway_service("west", "net", "192.0.2.1", name="a", created="2026-02-01T00:00:00Z"),
    )
    assert [(one.cluster, one.source.key and one.source.key.name) for one in gateways(mesh).gateways] == [("", ""), ("west", "b")]


REGISTRY = NetworkGatewayConfig(registry_service_name="eastwest.istio-system.svc.cluster.local", port=15443)
PLAIN = service(
    "west",
    "eastwest",
    namespace="istio-system",
    type=ServiceType.LOAD_BALANCER,
    ingress=("192.0.2.1",),
    ports=(port(15443, "tls", Protocol.TCP),),
)


def test_a_registry_service_name_means_the_service_in_the_networks_own_registries() -> None:
    assert found(configured(REGISTRY, registry="west"), PLAIN) == [("192.0.2.1", 15443, "west")]
    assert found(configured(REGISTRY, registry="east"), PLAIN) == []
    assert ignored(configured(REGISTRY, registry="east"), PLAIN) == [
        "Mesh: registryServiceName eastwest.istio-system.svc.cluster.local: no such Service in east"
    ]
    assert "the network has no fromRegistry" in ignored(configured(REGISTRY), PLAIN)[0]


def test_a_label_wins_over_being_named() -> None:
    other = gateway_service("west", "other", "192.0.2.1")
    assert found(configured(REGISTRY, registry="west"), other) == []
    assert ignored(configured(REGISTRY, registry="west"), other) == [
        "Service west/istio-system/eastwest: is labelled as a gateway of network other, which wins over its registryServiceName"
    ]
    same = gateway_service("west", "net", "192.0.2.1", number=15444, labels={GATEWAY_PORT_LABEL: "15444"})
    assert found(configured(REGISTRY, registry="west"), same) == [("192.0.2.1", 15444, "west")]
    assert ignored(configured(REGISTRY, registry="west"), same) == []


# -- hostnames ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [gateway_service("west", "net", "GW.example.com."), configured(NetworkGatewayConfig(address="gw.example.com"))],
    ids=["ingress", "mesh.networks"],
)
def test_a_hostname_is_asked_for_and_stands_for_its_addresses(row: Row) -> None:
    mesh = Mesh(row)
    assert [reason for _, reason in gateways(mesh).ignored if "is not resolved yet" in reason]
    assert mesh.pipeline.graph.wanted(RESOLVED) == {"gw.example.com"}
    mesh.resolve("gw.example.com", "192.0.2.7", "2001:db8::7")
    assert [one.address for one in gateways(mesh).gateways] == ["192.0.2.7", "2001:db8::7"]
    assert gateways(mesh).ignored == ()
    mesh.resolve("gw.example.com")
    assert gateways(mesh).gateways == ()
    assert [reason for _, reason in gateways(mesh).ignored if "has no address" in reason]


def test_what_is_neither_address_nor_hostname_is_said_and_not_asked_for() -> None:
    mesh = Mesh(configured(NetworkGatewayConfig(address="192.0.2.300"), NetworkGatewayConfig(address="a b")))
    assert [reason for _, reason in gateways(mesh).ignored] == [
        "'192.0.2.300' is neither the address of a host nor a hostname",
        "'a b' is neither the address of a host nor a hostname",
    ]
    assert mesh.pipeline.graph.wanted(RESOLVED) == frozenset()


def test_all_gateways_of_all_networks_are_known_by_address() -> None:
    mesh = Mesh(cluster("west"), gateway_service("west", "a", "192.0.2.1"), gateway_service("east", "b", "192.0.2.2"))
    assert mesh.ask(GATEWAY_ADDRESSES, "") == {"192.0.2.1", "192.0.2.2"}
    mesh.put(gateway_service("east", "b", "192.0.2.3"))
    assert mesh.ask(GATEWAY_ADDRESSES, "") == {"192.0.2.1", "192.0.2.3"}


def test_a_service_that_loses_its_label_is_no_gateway_any_more() -> None:
    row = gateway_service("west", "net", "192.0.2.1")
    mesh = Mesh(row)
    assert gateways(mesh).gateways
    mesh.put(service("west", "eastwest", namespace="istio-system", labels={f"{NETWORK_LABEL}x": "net"}))
    assert gateways(mesh) == NetworkGateways()
    assert gateways(Mesh()).ignored == ()
