"""Rule 1: on which network an endpoint is, and who says so."""

import pytest

from steersman.model.config import MeshConfig, NetworkConfig, NetworkEndpoints
from steersman.model.ids import ClusterID, Labels, Locality, NetworkID
from steersman.model.mesh import ObjectRef, Workload
from steersman.model.objects import Kind, Row
from steersman.names import NETWORK_LABEL
from steersman.registry.collections import CLUSTER_NETWORKS, NETWORKS, SLICE_ENDPOINTS, WORKLOADS
from tests.support.mesh import MTLS, Mesh, cluster, gateway_service, key, namespace, node, pod, ref, service, slice_of

SYSTEM = namespace("east", "istio-system", **{NETWORK_LABEL: "by-namespace"})
MESH = MeshConfig(
    networks=(
        NetworkConfig(name=NetworkID("by-cidr"), endpoints=(NetworkEndpoints(from_cidr="10.1.0.0/16"),)),
        NetworkConfig(name=NetworkID("by-registry"), endpoints=(NetworkEndpoints(from_registry=ClusterID("east")),)),
        NetworkConfig(name=NetworkID("too-late"), endpoints=(NetworkEndpoints(from_registry=ClusterID("east")),)),
    )
)
CIDR_ONLY = MeshConfig(networks=MESH.networks[:1])


def placed(*rows: Row, name: str = "p") -> tuple[str, ObjectRef | None]:
    found = Mesh(*rows).ask(WORKLOADS, key("east", name))
    assert found is not None
    return found.network, found.network_by


@pytest.mark.parametrize(
    ("rows", "network", "by"),
    [
        ((SYSTEM, cluster("east", "by-cluster"), MESH), "by-namespace", ObjectRef(Kind.NAMESPACE, SYSTEM.key)),
        ((cluster("east", "by-cluster"), MESH), "by-cluster", ObjectRef(Kind.CLUSTER, "east")),
        ((cluster("east"), MESH), "by-registry", ObjectRef(Kind.MESH, "")),
        ((cluster("east"), CIDR_ONLY), "by-cidr", ObjectRef(Kind.MESH, "")),
        ((cluster("east"),), "", None),
    ],
    ids=["system namespace", "cluster", "fromRegistry", "fromCidr", "nobody"],
)
def test_where_no_label_places_a_pod_the_first_of_these_does(rows: tuple[Row, ...], network: str, by: ObjectRef | None) -> None:
    assert placed(pod("east", "p", "10.1.0.1"), *rows) == (network, by)


def test_a_pods_own_label_comes_before_all() -> None:
    labelled = pod("east", "p", "10.1.0.1", labels={NETWORK_LABEL: "own"})
    assert placed(labelled, SYSTEM, cluster("east", "by-cluster"), MESH) == ("own", ref(Kind.POD, "east", "p"))


def test_the_system_namespace_is_the_mesh_root_namespace_of_that_cluster() -> None:
    mesh = Mesh(MeshConfig(root_namespace="mesh-system"), SYSTEM, namespace("east", "mesh-system", **{NETWORK_LABEL: "root"}))
    assert mesh.ask(CLUSTER_NETWORKS, ClusterID("east")) == ("root", ref(Kind.NAMESPACE, "east", "mesh-system", ""))
    assert mesh.ask(CLUSTER_NETWORKS, ClusterID("west")) == ("", None)


def test_a_label_that_comes_and_goes_moves_everything_in_the_cluster() -> None:
    mesh = Mesh(pod("east", "p", "10.1.0.1"), cluster("east", "by-cluster"))
    places = []
    for row in (SYSTEM, namespace("east", "istio-system"), SYSTEM):
        mesh.put(row)
        found = mesh.ask(WORKLOADS, key("east", "p"))
        assert found is not None
        places.append(found.network)
    assert places == ["by-namespace", "by-cluster", "by-namespace"]


def test_by_cidr_a_pods_two_addresses_may_be_on_two_networks() -> None:
    mesh = Mesh(
        CIDR_ONLY,
        cluster("east"),
        service("east", "reviews"),
        pod("east", "p", "10.9.0.1", "10.1.0.1"),
        slice_of("east", "reviews", "10.9.0.1=p", "10.1.0.1=p", "10.1.0.2"),
    )
    ((_, endpoints),) = mesh.ask(SLICE_ENDPOINTS, key("east", "reviews-1")).ports
    assert [(one.address, one.traits.network, one.workload.network) for one in endpoints] == [
        ("10.9.0.1", "", ""),
        ("10.1.0.1", "by-cidr", "by-cidr"),
        ("10.1.0.2", "by-cidr", "by-cidr"),
    ]


def test_a_network_has_gateways_by_the_mesh_config_or_a_label() -> None:
    mesh = Mesh(MESH, gateway_service("east", "by-label"))
    assert mesh.ask(NETWORKS, "") == ("by-cidr", "by-label", "by-registry", "too-late")


# -- workloads ----------------------------------------------------------------------------------------------------------------


def workload(*rows: Row) -> Workload:
    found = Mesh(*rows).ask(WORKLOADS, key("east", "p"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("label", "locality"),
    [
        ("", Locality("r", "z", "s")),
        ("region.zone.rack", Locality("region", "zone", "rack")),
        ("region/zone.1/rack", Locality("region", "zone.1", "rack")),
        ("region", Locality("region")),
    ],
)
def test_a_pod_is_where_its_label_says_else_where_its_node_is(label: str, locality: Locality) -> None:
    assert workload(pod("east", "p", node="n", locality_label=label), node("east", "n", "r", "z", "s")).locality == locality


def test_a_node_of_another_cluster_says_nothing() -> None:
    assert workload(pod("east", "p", node="n"), node("west", "n", "r", "z")).locality == Locality()


def test_an_identity_is_of_the_clusters_trust_domain_else_the_meshs() -> None:
    own = pod("east", "p", service_account="bob")
    config = MeshConfig(trust_domain="mesh.example")
    assert workload(own, config, cluster("east")).identity == "spiffe://mesh.example/ns/default/sa/bob"
    assert workload(own, config, cluster("east", trust_domain="east.example")).identity == "spiffe://east.example/ns/default/sa/bob"


@pytest.mark.parametrize(
    ("labels", "mtls"), [({}, False), (MTLS, True), ({"security.istio.io/tlsMode": "disabled"}, False)], ids=["none", "istio", "other"]
)
def test_a_pod_speaks_mtls_by_its_label_alone(labels: dict[str, str], mtls: bool) -> None:
    assert workload(pod("east", "p", labels=labels)).mtls is mtls


def test_a_pod_that_has_run_to_its_end_is_no_workload() -> None:
    assert Mesh(pod("east", "p", active=False)).ask(WORKLOADS, key("east", "p")) is None


def test_what_happens_to_a_pods_readiness_changes_no_workload() -> None:
    mesh = Mesh(pod("east", "p", "10.0.0.1", ready=False))
    mesh.ask(WORKLOADS, key("east", "p"))
    assert not mesh.put(pod("east", "p", "10.0.0.1")).changed
    labels: Labels = (("app", "x"),)
    assert mesh.put(pod("east", "p", "10.0.0.1", labels=dict(labels))).changed
