"""Manifests: what each kind of proxy is sent is complete in itself, valid, and shared wherever proxies stand in the same place."""

from typing import Any

import pytest

from steersman.model.config import MeshConfig
from steersman.model.ids import ClusterID
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.resources.collections import MANIFESTS, TABLES_OF
from tests.support.mesh import Mesh, cluster, pod, service, slice_of
from tests.support.meshes import (
    BARE,
    BOUND,
    CAPTURED,
    DUAL,
    EASTWEST_GATEWAY,
    GRPC,
    INGRESS,
    PROXIES,
    certified,
    everything,
)
from tests.support.pgv import problems
from tests.support.references import references
from tests.support.served import MESSAGES, served, sidecar

FIXED = {"BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"}
REVIEWS = "reviews.default.svc.cluster.local"


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return certified(everything(), b"root", b"chain", b"key")


def all_served(mesh: Mesh, proxy: Proxy) -> dict[str, dict[str, Any]]:
    return {type_url: served(mesh, proxy, type_url) for type_url in MESSAGES}


@pytest.mark.parametrize("kind", PROXIES)
def test_every_name_that_a_resource_leads_to_is_served(mesh: Mesh, kind: str) -> None:
    sent = all_served(mesh, PROXIES[kind])
    wanted = {found for messages in sent.values() for message in messages.values() for found in references(message)}
    assert {found for found in wanted if found.name not in sent[found.type_url]} == set()
    assert {found.name for found in wanted if found.type_url == EDS} == set(sent[EDS])
    assert {found.name for found in wanted if found.type_url == RDS} == set(sent[RDS])


@pytest.mark.parametrize("kind", PROXIES)
def test_every_resource_passes_envoys_validation_rules(mesh: Mesh, kind: str) -> None:
    for messages in all_served(mesh, PROXIES[kind]).values():
        for name, message in messages.items():
            assert problems(message) == [], name


@pytest.mark.parametrize("kind", PROXIES)
def test_manifests_are_sorted_and_name_nothing_twice(mesh: Mesh, kind: str) -> None:
    seen: set[tuple[str, str]] = set()
    for table in mesh.ask(TABLES_OF, PROXIES[kind].id):
        assert len({part.type_url for part in table}) == 1
        for part in table:
            names = [name for name, _ in mesh.ask(MANIFESTS, part)]
            assert names == sorted(names)
            assert seen.isdisjoint((part.type_url, name) for name in names)
            seen |= {(part.type_url, name) for name in names}


def test_tables_come_in_the_order_in_which_types_are_sent(mesh: Mesh) -> None:
    for proxy in (CAPTURED, EASTWEST_GATEWAY):
        assert [table[0].type_url for table in mesh.ask(TABLES_OF, proxy.id)] == [CDS, EDS, LDS, RDS, SDS]
    assert [table[0].type_url for table in mesh.ask(TABLES_OF, GRPC.id)] == [CDS, EDS, LDS, RDS]


def test_a_proxy_that_is_not_connected_stands_at_no_table(mesh: Mesh) -> None:
    assert mesh.ask(TABLES_OF, sidecar("10.9.9.9").id) == ()


def test_each_kind_of_proxy_has_the_clusters_that_it_needs(mesh: Mesh) -> None:
    def own(proxy: Proxy) -> set[str]:
        return {name for name in served(mesh, proxy, CDS) if not name.startswith("outbound|")}

    assert own(CAPTURED) == FIXED | {f"inbound|{port}||" for port in (9080, 9081, 9082, 9083)}
    assert own(BOUND) == FIXED - {"InboundPassthroughCluster"} | {f"inbound|{port}||" for port in (9080, 9081, 9082, 9083)}
    assert own(BARE) == FIXED - {"InboundPassthroughCluster"}
    assert own(INGRESS) == {"BlackHoleCluster"}
    passthrough = own(EASTWEST_GATEWAY) - {"BlackHoleCluster"}
    assert f"outbound_.9083_._.{REVIEWS}" in passthrough
    assert all(name.startswith("outbound_.") for name in passthrough)


def test_what_is_not_exported_to_a_namespace_is_not_sent_there(mesh: Mesh) -> None:
    hidden = "outbound|80||private.hidden.svc.cluster.local"
    assert hidden not in served(mesh, CAPTURED, CDS)
    assert hidden not in served(mesh, CAPTURED, EDS)
    inside = sidecar("10.0.9.9", name="inside", namespace="hidden")
    mesh.put(inside)
    assert hidden in served(mesh, inside, CDS)
    assert hidden in served(mesh, inside, EDS)


def addresses(assignment: Any) -> set[str]:
    return {one.endpoint.address.socket_address.address for group in assignment.endpoints for one in group.lb_endpoints}


def test_a_grpc_client_sees_what_it_can_reach_without_mtls(mesh: Mesh) -> None:
    name = f"outbound|9081||{REVIEWS}"
    assert addresses(served(mesh, CAPTURED, EDS)[name]) == {"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.2", "192.0.2.3"}
    assert addresses(served(mesh, GRPC, EDS)[name]) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_a_passthrough_cluster_holds_mtls_endpoints_of_its_own_network(mesh: Mesh) -> None:
    sent = served(mesh, EASTWEST_GATEWAY, EDS)
    assert addresses(sent[f"outbound_.9080_._.{REVIEWS}"]) == {"10.0.0.1", "10.0.0.2"}
    assert addresses(sent[f"outbound|9080||{REVIEWS}"]) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert addresses(served(mesh, DUAL, EDS)[f"outbound|9080||{REVIEWS}"]) >= {"192.0.2.2"}


def parts_of(mesh: Mesh, proxy: Proxy, type_url: str) -> tuple[Any, ...]:
    return next(table for table in mesh.ask(TABLES_OF, proxy.id) if table[0].type_url == type_url)


def test_proxies_of_one_place_share_their_parts_whatever_their_cluster_node_and_workload() -> None:
    first, second = sidecar("10.0.0.1", name="a"), sidecar("10.0.0.2", name="b", cluster="more")
    mesh = Mesh(
        MeshConfig(),
        cluster("east", "network-east"),
        cluster("more", "network-east"),
        service("east", "reviews"),
        slice_of("east", "reviews", "10.0.0.3=r"),
        pod("east", "r", "10.0.0.3"),
        pod("east", "a", "10.0.0.1", node="n1"),
        pod("more", "b", "10.0.0.2", node="n2"),
        first,
        second,
    )
    assert parts_of(mesh, first, EDS) == parts_of(mesh, second, EDS)
    assert parts_of(mesh, first, CDS)[0] == parts_of(mesh, second, CDS)[0]
    mesh.put(service("east", "near", node_local=True))
    assert parts_of(mesh, first, EDS) != parts_of(mesh, second, EDS)


def test_a_leaf_is_wanted_when_a_proxy_stands_where_it_needs_it() -> None:
    from steersman.registry.collections import LEAVES

    proxy = sidecar(service_account="client")
    mesh = Mesh(MeshConfig(), cluster("east", "network-east"), proxy)
    assert not mesh.pipeline.graph.wanted(LEAVES)
    served(mesh, proxy, SDS)
    (wanted,) = mesh.pipeline.graph.wanted(LEAVES)
    assert wanted.cluster == ClusterID("east")
    assert wanted.identity == "spiffe://cluster.local/ns/default/sa/client"
