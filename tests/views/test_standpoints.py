"""Where a proxy stands: what its Node says, else what the mesh knows, else nothing; and what of that decides a service's endpoints."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig, NetworkConfig, NetworkEndpoints, NetworkGatewayConfig
from steersman.model.ids import UNKNOWN_NETWORK, ClusterID, IPFamily, Locality, NetworkID, labels_of
from steersman.model.mesh import Horizon, MeshService, Standpoint
from steersman.model.objects import Row
from steersman.model.proxy import Proxy, ProxyType
from steersman.names import NETWORK_LABEL
from steersman.registry.collections import MESH_SERVICES
from steersman.views.collections import STANDPOINTS
from steersman.views.horizon import UNKNOWN_CLUSTER, horizon_of, narrowed, whole_horizon
from tests.support.mesh import BOTH, V4, V6, Mesh, cluster, gateway_service, key, namespace, node, pod, service, service_key

EAST = cluster("east", "net-east", trust_domain="east.example")
POD = pod("east", "client", "10.0.0.1", node="n1", service_account="bob", labels={"app": "client"})
NODE = node("east", "n1", "r", "z", "s")


def proxy(**fields: Any) -> Proxy:
    return Proxy(id="p", **{"cluster": ClusterID("east"), "ip": "10.0.0.1", "name": "client", **fields})


def stands(*rows: Row, **fields: Any) -> Standpoint:
    found = Mesh(proxy(**fields), *rows).ask(STANDPOINTS, "p")
    assert found is not None
    return found


def test_an_unknown_proxy_stands_nowhere() -> None:
    assert Mesh().ask(STANDPOINTS, "p") is None


def test_what_the_node_leaves_open_is_its_pods() -> None:
    found = stands(EAST, POD, NODE)
    assert found.pod == key("east", "client")
    assert found.network == "net-east"
    assert found.locality == Locality("r", "z", "s")
    assert found.node == "n1"
    assert found.identity == "spiffe://east.example/ns/default/sa/bob"
    assert found.trust_domain == "east.example"
    assert found.labels == (("app", "client"),)
    assert found.families == {V4}
    assert found.inferred == (
        "its pod is Pod east/default/client, by the address 10.0.0.1",
        "identity spiffe://east.example/ns/default/sa/bob is that of its pod's service account",
        "network net-east is that of its pod, by Cluster east",
        "it can use IPv4 only, by its address 10.0.0.1 and no INSTANCE_IPS",
        "locality r/z/s is that of its pod",
    )


def test_what_the_node_says_stands_and_nothing_is_inferred_of_it() -> None:
    found = stands(
        EAST,
        POD,
        NODE,
        network=NetworkID("told"),
        locality=Locality("told"),
        service_account="alice",
        instance_ips=("10.0.0.1", "fd00::1"),
        network_view=(NetworkID("told"),),
        inferred=("said by the parser",),
    )
    assert (found.network, found.locality, found.families, found.view) == ("told", Locality("told"), BOTH, ("told",))
    assert found.identity == "spiffe://east.example/ns/default/sa/alice"
    assert found.inferred == ("said by the parser", "its pod is Pod east/default/client, by the address 10.0.0.1")


# -- network ------------------------------------------------------------------------------------------------------------------


def test_its_pods_label_comes_before_its_clusters_network() -> None:
    labelled = pod("east", "client", "10.0.0.1", labels={NETWORK_LABEL: "own"})
    assert stands(EAST, labelled).network == "own"


def test_without_a_pod_its_network_is_its_clusters() -> None:
    assert stands(EAST).network == "net-east"
    assert stands(cluster("east"), namespace("east", "istio-system", **{NETWORK_LABEL: "system"})).network == "system"


def test_a_cidr_of_mesh_networks_places_a_pod_and_not_just_any_address() -> None:
    config = MeshConfig(networks=(NetworkConfig(name=NetworkID("cidr"), endpoints=(NetworkEndpoints(from_cidr="10.0.0.0/8"),)),))
    assert stands(cluster("east"), config, POD).network == "cidr"
    assert stands(cluster("east"), config).network == UNKNOWN_NETWORK


def test_a_network_is_never_guessed() -> None:
    found = stands(cluster("east"))
    assert found.network == UNKNOWN_NETWORK
    assert "its network is unknown: neither NETWORK, nor a pod, nor its cluster tells it" in found.inferred


def test_a_proxy_of_a_cluster_that_is_not_configured_is_served_and_says_so() -> None:
    found = stands(EAST, POD, cluster=ClusterID("moon"))
    assert (found.cluster, found.network, found.pod) == ("moon", UNKNOWN_NETWORK, None)
    assert "cluster moon is not configured here: nothing is known of its objects" in found.inferred


def test_the_pod_of_another_cluster_with_the_same_address_is_not_its_own() -> None:
    assert stands(cluster("west", "net-west"), POD, cluster=ClusterID("west")).pod is None


def test_a_bare_envoy_has_no_place_and_both_families() -> None:
    found = stands(EAST, POD, bare=True, cluster=ClusterID(""), ip="", name="")
    assert (found.cluster, found.network, found.pod, found.families) == ("", UNKNOWN_NETWORK, None, BOTH)
    assert found.identity == "spiffe://cluster.local/ns/default/sa/default"
    assert "identity spiffe://cluster.local/ns/default/sa/default: neither SERVICE_ACCOUNT nor a pod tells another" in found.inferred
    assert "it can use IPv4 and IPv6, as no address of it is known" in found.inferred


# -- pod ----------------------------------------------------------------------------------------------------------------------


def test_of_several_pods_with_its_address_the_one_of_its_name_is_its_own() -> None:
    others = [pod("east", name, "10.0.0.1") for name in ("agent", "client", "zzz")]
    assert stands(EAST, *others).pod == key("east", "client")
    strange = stands(EAST, *others, name="nobody")
    assert strange.pod == key("east", "agent")
    assert "its pod is Pod east/default/agent, by the address 10.0.0.1, one of 3" in strange.inferred


def test_a_pod_at_its_end_is_not_its_own() -> None:
    assert stands(EAST, pod("east", "client", "10.0.0.1", active=False)).pod is None


@pytest.mark.parametrize(
    ("ip", "instance_ips", "families"),
    [
        ("10.0.0.1", (), {V4}),
        ("fd00::1", (), {V6}),
        ("10.0.0.1", ("fd00::1",), {V6}),
        ("10.0.0.1", ("10.0.0.1", "fd00::1"), {V4, V6}),
        ("::ffff:10.0.0.1", (), {V4}),
        ("", (), {V4, V6}),
        ("nonsense", ("nonsense",), {V4, V6}),
    ],
)
def test_its_families_are_those_of_its_addresses(ip: str, instance_ips: tuple[str, ...], families: set[IPFamily]) -> None:
    assert stands(EAST, ip=ip, instance_ips=instance_ips).families == families


# -- a network's gateway ------------------------------------------------------------------------------------------------------

GATEWAY_POD = pod("east", "gw", "10.0.0.1", namespace="istio-system", labels={"istio": "eastwest"})
LABELLED = gateway_service("east", "net-east", "192.0.2.1", selector={"istio": "eastwest"})
ROUTER: dict[str, Any] = {"type": ProxyType.ROUTER, "namespace": "istio-system", "name": "gw"}
METADATA: dict[str, Any] = {**ROUTER, "ip": "", "labels": labels_of({"istio": "eastwest"})}
REGISTRY = MeshConfig(
    networks=(
        NetworkConfig(
            name=NetworkID("net-east"),
            endpoints=(NetworkEndpoints(from_registry=ClusterID("east")),),
            gateways=(NetworkGatewayConfig(registry_service_name="eastwest.istio-system.svc.cluster.local"),),
        ),
    )
)
NAMED = service("east", "eastwest", namespace="istio-system", selector={"istio": "eastwest"})


@pytest.mark.parametrize(
    ("rows", "fields", "is_gateway"),
    [
        ((GATEWAY_POD, LABELLED), ROUTER, True),
        ((LABELLED,), METADATA, True),
        ((GATEWAY_POD, NAMED, REGISTRY), ROUTER, True),
        ((GATEWAY_POD, NAMED), ROUTER, False),
        ((GATEWAY_POD, LABELLED), {**ROUTER, "type": ProxyType.SIDECAR}, False),
        ((GATEWAY_POD, LABELLED), {**ROUTER, "namespace": "other"}, False),
        ((GATEWAY_POD, gateway_service("west", "net-east", "192.0.2.1", selector={"istio": "eastwest"})), ROUTER, False),
        ((GATEWAY_POD, gateway_service("east", "net-east", "192.0.2.1", selector={"istio": "ingress"})), ROUTER, False),
        ((GATEWAY_POD, gateway_service("east", "net-east", "192.0.2.1")), ROUTER, False),
        ((pod("east", "gw", "10.0.0.1", namespace="istio-system", labels={}), LABELLED), {**METADATA, "ip": "10.0.0.1"}, False),
    ],
    ids=[
        *("by its pod's labels", "by metadata", "by mesh.networks", "a Service that is no gateway", "a sidecar", "another namespace"),
        *("another cluster", "other labels", "no selector", "a known pod's labels come before metadata"),
    ],
)
def test_a_router_that_a_networks_gateway_service_selects_is_that_gateway(
    rows: tuple[Row, ...], fields: dict[str, Any], is_gateway: bool
) -> None:
    found = stands(EAST, *rows, **fields)
    assert found.network_gateway is is_gateway
    assert ("it is a network's gateway, by Service east/istio-system/eastwest" in found.inferred) is is_gateway


# -- horizons -----------------------------------------------------------------------------------------------------------------


def mesh_service(name: str = "reviews", in_namespace: str = "default", **fields: Any) -> MeshService:
    found = Mesh(service("east", name, namespace=in_namespace, **fields)).ask(MESH_SERVICES, service_key(name, in_namespace))
    assert found is not None
    return found


def test_proxies_that_differ_in_what_does_not_matter_for_a_service_share_its_horizon() -> None:
    one = stands(EAST, POD, NODE)
    other = stands(cluster("west", "net-east"), cluster=ClusterID("west"))
    assert one != other
    assert horizon_of(one, mesh_service()) == horizon_of(other, mesh_service()) == Horizon(NetworkID("net-east"), frozenset({V4}))


def test_the_cluster_counts_for_cluster_local_and_the_node_for_node_local_services() -> None:
    here = stands(EAST, POD, NODE)
    assert horizon_of(here, mesh_service("dns", "kube-system")).cluster == "east"
    assert horizon_of(here, mesh_service("dns", "kube-system")).node == ""
    assert horizon_of(here, mesh_service(node_local=True)).node == "east/n1"
    assert horizon_of(here, mesh_service(node_local=True)).cluster == ""


def test_nothing_is_local_to_a_proxy_of_no_cluster() -> None:
    assert horizon_of(stands(EAST, cluster=ClusterID("")), mesh_service("dns", "kube-system")).cluster == UNKNOWN_CLUSTER


def test_passthrough_clusters_and_a_networks_gateway_keep_to_their_network() -> None:
    plain, fronting = stands(EAST), stands(EAST, LABELLED, **METADATA)
    reviews = mesh_service()
    assert not horizon_of(plain, reviews).own_network_only
    assert horizon_of(fronting, reviews).own_network_only
    assert not horizon_of(fronting, reviews).mtls_only
    through = horizon_of(plain, reviews, passthrough=True)
    assert (through.own_network_only, through.mtls_only) == (True, True)


def test_narrowing_twice_changes_nothing() -> None:
    whole = whole_horizon(stands(EAST, POD, NODE))
    for one in (mesh_service(), mesh_service(node_local=True), mesh_service("dns", "kube-system")):
        assert narrowed(narrowed(whole, one), one) == narrowed(whole, one)
