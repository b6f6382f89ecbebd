"""Explain: every candidate in or out, by what was decided for the proxy's own assignments, with where it is written."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings

from steersman.admin import inspect_pb2
from steersman.explain.explain import UnknownProxy, explain
from steersman.explain.explanation import Candidate, Explanation
from steersman.explain.service_names import UnknownService
from steersman.model.facts import Origin, Upsert
from steersman.model.ids import ServiceKey, ServicePortKey
from steersman.model.mesh import Rule
from steersman.model.objects import GatewayServer, Protocol, Row, ServiceType, TLSMode
from steersman.model.proxy import Proxy
from steersman.registry.collections import ENDPOINT_SOURCES, MESH_SERVICES, PROXIES, SERVICE_KEYS
from steersman.registry.endpoints import endpoints_from, unusable_from
from steersman.registry.services import port_numbered, services_named
from steersman.views.collections import SEEN, STANDPOINTS, SeenKey
from steersman.views.horizon import horizon_of
from tests.sources.decoding import made
from tests.support.examples import examples
from tests.support.mesh import Mesh, cluster, fact, gateway, gateway_service, pod, port, service, service_key, slice_of
from tests.support.seen import seen_endpoints
from tests.support.served import router, sidecar
from tests.support.strategies import Event, final, histories

CLIENT = sidecar()
ROWS: tuple[Row, ...] = (
    CLIENT,
    cluster("east", "net-east"),
    cluster("west", "net-west"),
    service("east", "reviews"),
    service("west", "reviews", ports=(port(), port(90, "tcp", Protocol.TCP))),
    pod("east", "p", "10.0.0.1"),
    pod("west", "p", "10.0.0.1"),
    pod("west", "plain", "10.0.0.2", labels={}),
    slice_of("east", "reviews", "10.0.0.1=p"),
    slice_of("west", "reviews", "10.0.0.1=p", "10.0.0.2=plain"),
    gateway_service("west", "net-west", "192.0.2.1", "192.0.2.2"),
)


def explained(mesh: Mesh, name: str = "reviews", number: int | None = 80, proxy: Proxy = CLIENT, namespace: str = "default") -> Explanation:
    graph = mesh.pipeline.graph
    key = service_key(name, namespace)
    return explain(graph.ask, proxy.id, key, number, origins=mesh.pipeline.origins, inputs_of=graph.inputs_of)


def candidates(answer: Explanation) -> dict[str, Candidate]:
    (one,) = answer.ports
    return {f"{candidate.cluster} {candidate.address}": candidate for candidate in one.candidates}


def test_every_candidate_is_in_or_out_with_its_weight_and_the_objects_that_decided() -> None:
    found = candidates(explained(Mesh(*ROWS)))
    assert {name: (one.admitted, one.rule, one.weight) for name, one in found.items()} == {
        "east 10.0.0.1": (True, "direct", 2),
        "west 10.0.0.1": (True, "via-gateway", 2),
        "west 10.0.0.2": (False, "not-mtls", 0),
    }
    assert [reference.object for reference in found["west 10.0.0.2"].because] == [
        "Pod west/default/plain",
        "Cluster west",
        "Service west/istio-system/eastwest",
    ]
    assert found["west 10.0.0.1"].gateways == ("192.0.2.1:15443", "192.0.2.2:15443")
    assert found["west 10.0.0.1"].pod == "west/default/p"


@pytest.mark.parametrize(
    ("addresses", "shown"),
    [(["bad"], "bad"), (["0.0.0.0"], "0.0.0.0"), (["fd00::1"], "fd00::1"), ([None], ""), ([], "")],
)
def test_what_a_slice_lists_without_a_usable_address_is_out_as_it_is_written(addresses: list[str | None], shown: str) -> None:
    decoded = made(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        name="reviews-2",
        namespace="default",
        meta={"labels": {"kubernetes.io/service-name": "reviews"}},
        addressType="IPv4",
        endpoints=[{"addresses": addresses, "targetRef": {"kind": "Pod", "name": "p"}}],
        ports=[{"name": "http", "port": 8080}],
    )
    found = candidates(explained(Mesh(*ROWS, decoded.value)))
    assert found["east 10.0.0.1"].admitted
    refused = found[f"east {shown}"]
    assert (refused.admitted, refused.rule, refused.pod) == (False, "bad-address", "east/default/p")
    assert [reference.object for reference in refused.because] == ["EndpointSlice east/default/reviews-2"]


def test_gateways_stand_with_their_whole_weight() -> None:
    (one,) = explained(Mesh(*ROWS)).ports
    assert [(gateway.address, gateway.weight, gateway.source.object) for gateway in one.gateways] == [
        ("192.0.2.1", 1, "Service west/istio-system/eastwest"),
        ("192.0.2.2", 1, "Service west/istio-system/eastwest"),
    ]
    assert one.notes == ("all weights are multiplied by 2, so that gateways' shares are whole numbers",)


def test_objects_come_with_the_place_where_they_are_written() -> None:
    mesh = Mesh()
    for number, row in enumerate(ROWS, 1):
        told = fact(row)
        mesh.tell(Upsert(kind=told.kind, key=told.key, value=told.value, origin=Origin(source="east", place=f"objects.yaml:{number}")))
    answer = explained(mesh)
    found = candidates(answer)
    assert found["west 10.0.0.2"].because[0].place == "objects.yaml:8"
    assert found["west 10.0.0.2"].source.place == "objects.yaml:10"
    assert [reference.place for reference in answer.services] == ["objects.yaml:4", "objects.yaml:5"]


def test_the_facts_behind_an_assignment_are_those_that_it_was_computed_from() -> None:
    mesh = Mesh(*ROWS, service("east", "unrelated"), pod("east", "unrelated", "10.0.0.9"))
    (one,) = explained(mesh).ports
    facts = {reference.object for reference in one.facts}
    assert {"Pod west/default/plain", "EndpointSlice east/default/reviews-1", "Cluster west", "Mesh"} <= facts
    assert not any("unrelated" in name for name in facts)
    assert "Namespace west/istio-system" in facts, "a fact that is absent decides too"


def test_without_a_way_to_ask_for_facts_they_are_left_out() -> None:
    mesh = Mesh(*ROWS)
    answer = explain(mesh.pipeline.graph.ask, CLIENT.id, service_key("reviews"))
    assert [one.facts for one in answer.ports] == [(), ()]
    assert {reference.place for reference in answer.services} == {""}


def test_all_ports_are_explained_unless_one_is_asked_for() -> None:
    answer = explained(Mesh(*ROWS), number=None)
    assert [(one.port, one.name, one.protocol, one.cluster) for one in answer.ports] == [
        (80, "http", "HTTP", "outbound|80||reviews.default.svc.cluster.local"),
        (90, "tcp", "TCP", "outbound|90||reviews.default.svc.cluster.local"),
    ]
    assert answer.ports[1].notes == ("Service east/default/reviews has no port 90",)


def test_a_networks_gateway_is_explained_its_passthrough_cluster_as_well() -> None:
    server = GatewayServer(port=15443, port_name="tls", protocol="TLS", hosts=("*.local",), tls_mode=TLSMode.AUTO_PASSTHROUGH)
    crossing = router(cluster="west")
    mesh = Mesh(*ROWS, crossing, gateway("west", "cross", server))
    outbound, through = explained(mesh, proxy=crossing).ports
    assert (outbound.cluster, through.cluster) == (
        "outbound|80||reviews.default.svc.cluster.local",
        "outbound_.80_._.reviews.default.svc.cluster.local",
    )
    rules = [{f"{one.cluster} {one.address}": one.rule for one in each.candidates} for each in (outbound, through)]
    assert [each["west 10.0.0.2"] for each in rules] == ["direct", "passthrough-not-mtls"]
    assert rules[1]["east 10.0.0.1"] == "other-network-at-gateway"


def test_what_a_proxy_is_not_sent_is_explained_as_it_would_see_it_and_said() -> None:
    mesh = Mesh(*ROWS, service("east", "reviews", export_to=("other",)), service("west", "reviews", export_to=("other",)))
    answer = explained(mesh)
    assert answer.notes == ("exportTo shows the service to other only, not to the proxy's namespace default",)
    assert answer.ports[0].notes[0] == "the proxy is not sent this cluster; what follows is what it would see"
    assert len(answer.ports[0].candidates) == 3


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            service("east", "x", type=ServiceType.EXTERNAL_NAME, external_name="example.com"),
            "ExternalName: the proxy resolves example.com itself, so there are no endpoints",
        ),
        (service("east", "x", namespace="kube-system"), "cluster-local: endpoints of other clusters are never used"),
    ],
    ids=["ExternalName", "cluster-local"],
)
def test_what_is_peculiar_to_a_service_is_said(row: Row, note: str) -> None:
    namespace = "kube-system" if "kube-system" in str(row) else "default"
    assert note in explained(Mesh(*ROWS, row), "x", namespace=namespace).notes


def test_clusters_that_disagree_are_named() -> None:
    mesh = Mesh(*ROWS, service("east", "reviews", ports=(port(80, "tcp", Protocol.TCP),), created="2026-01-01T00:00:00Z"))
    assert explained(mesh).notes == (
        "port 80: protocol HTTP, not TCP: Service west/default/reviews is older than Service east/default/reviews, which says so",
    )


def test_udp_goes_past_the_proxy() -> None:
    mesh = Mesh(*ROWS, service("east", "dns", ports=(port(53, "dns", Protocol.UDP),)))
    assert explained(mesh, "dns", 53).ports[0].notes == ("UDP goes past the proxy: there is no such cluster",)


def test_what_is_not_there_is_named() -> None:
    mesh = Mesh(*ROWS)
    with pytest.raises(UnknownProxy, match="no proxy sidecar~gone is connected"):
        explain(mesh.pipeline.graph.ask, "sidecar~gone", service_key("reviews"))
    with pytest.raises(UnknownService, match="no cluster has a Service ratings in namespace default"):
        explained(mesh, "ratings")
    with pytest.raises(UnknownService, match=r"reviews\.default has no port 81"):
        explained(mesh, number=81)


def test_a_question_changes_nothing() -> None:
    mesh = Mesh(*ROWS)
    explained(mesh, number=None)
    assert mesh.pipeline.graph.size == 0
    assert mesh.pipeline.graph.settled


def test_an_explanation_is_a_message_of_the_inspect_service() -> None:
    answer = explained(Mesh(*ROWS), number=None)
    message = json_format.ParseDict(msgspec.to_builtins(answer), inspect_pb2.Explanation())
    assert [candidate.rule for candidate in message.ports[0].candidates] == ["direct", "via-gateway", "not-mtls"]


# -- any mesh -----------------------------------------------------------------------------------------------------------------


def entries(mesh: Mesh, key: ServicePortKey) -> Iterator[tuple[Any, ...]]:
    """Every entry that any object lists for a service port, a pod that is listed twice once."""
    ask = mesh.pipeline.graph.ask
    for one in services_named(ask, key.service):
        own = port_numbered(one, key.port)
        if own is None:
            continue
        for source in ask(ENDPOINT_SOURCES, one.key):
            for name, endpoints in endpoints_from(ask, source).ports:
                yield from ((one.address, one.port, one.workload.cluster, one.workload.pod) for one in endpoints if name == own.name)
            yield from ((entry, source) for entry in unusable_from(ask, source) if entry.port_name == own.name)


@given(histories())
@settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_endpoint_is_lost_without_a_verdict_and_what_is_in_is_what_is_sent(batches: list[list[Event]]) -> None:
    mesh = Mesh()
    mesh.tell(*final(batches))
    ask = mesh.pipeline.graph.ask
    for proxy in list(mesh.pipeline.graph.rows(PROXIES))[:3]:
        for key in ask(SERVICE_KEYS, ""):
            check(mesh, proxy, key)


def check(mesh: Mesh, proxy: str, key: ServiceKey) -> None:
    ask = mesh.pipeline.graph.ask
    standpoint, mesh_service = ask(STANDPOINTS, proxy), ask(MESH_SERVICES, key)
    assert standpoint is not None
    assert mesh_service is not None
    for one in explain(ask, proxy, key).ports:
        port_key = ServicePortKey(*key, one.port)
        passthrough = one.cluster.startswith("outbound_.")
        seen_key = SeenKey(port_key, horizon_of(standpoint, mesh_service, passthrough=passthrough))
        seen, listed = ask(SEEN, seen_key), seen_endpoints(ask, seen_key)

        usable = [candidate for candidate in one.candidates if candidate.port]
        wanted = list(entries(mesh, port_key))
        assert len({(c.address, c.port, c.cluster, c.pod) for c in usable}) == len(usable) == len({e for e in wanted if len(e) == 4})
        assert len(one.candidates) - len(usable) == len([e for e in wanted if len(e) == 2])

        admitted = [candidate for candidate in one.candidates if candidate.admitted]
        assert all(candidate.because or candidate.admitted for candidate in one.candidates)
        assert all(bool(candidate.gateways) == (candidate.rule in (Rule.VIA_GATEWAY, Rule.FOLDED)) for candidate in admitted)
        direct = {f"{c.address}:{c.port}" for c in admitted if not c.gateways}
        assert direct == {endpoint.at for endpoint in listed if not endpoint.gateway}
        if not seen.shadowed and not seen.rounded:
            assert sum(candidate.weight for candidate in admitted) == sum(endpoint.weight for endpoint in listed)
