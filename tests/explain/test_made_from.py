"""What a refused resource was made from: the objects that asked for it first, whatever kind of resource it is."""

import pytest

from steersman.explain.made_from import SHOWN, MadeFrom, made_from
from steersman.model.facts import Origin
from steersman.model.objects import GatewayServer, Protocol
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS, LDS, RDS, SDS
from tests.support.mesh import Mesh, cluster, gateway, pod, port, service, slice_of
from tests.support.served import bound, resources_of, router, sidecar

APP = {"app": "web"}
GATEWAY = {"istio": "gw"}
INSIDE = sidecar("10.0.0.1", name="web-1", labels=(("app", "web"),))
CLIENT = sidecar()
ROUTER = router(labels=(("istio", "gw"),))
BOUND = bound("10.0.0.7", name="bound")
GRPC = sidecar("10.0.0.6", name="dialler", generator="grpc")
SERVER = GatewayServer(port=80, port_name="http", protocol="HTTP", hosts=("*",))


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(
        cluster("east", "net-east"),
        cluster("west", "net-west"),
        service("east", "web", selector=APP, cluster_ips=("10.96.0.1",)),
        service("west", "web", selector=APP),
        service("east", "db", ports=(port(5432, "tcp", Protocol.TCP),), cluster_ips=("10.96.0.2",)),
        service("east", "other", cluster_ips=("10.96.0.3",)),
        pod("east", "web-1", "10.0.0.1", labels=APP),
        slice_of("east", "web", "10.0.0.1=web-1"),
        *(INSIDE, CLIENT, ROUTER, BOUND, GRPC),
    )


def traced(mesh: Mesh, proxy: Proxy, type_url: str, name: str, words: str = "", version: str = "") -> MadeFrom:
    resource = resources_of(mesh, proxy, type_url)[name]
    graph = mesh.pipeline.graph
    refused = (type_url, name, version or resource.version)
    return made_from(graph.ask, graph.inputs_of, mesh.pipeline.origins, proxy.id, refused, words)


def objects(made: MadeFrom) -> list[str]:
    return [one.object for one in made.objects]


WEB = "web.default.svc.cluster.local"


def test_of_a_cluster_the_services_in_all_clusters_and_then_what_it_was_computed_from(mesh: Mesh) -> None:
    made = traced(mesh, CLIENT, CDS, f"outbound|80||{WEB}")
    assert objects(made)[:2] == ["Service east/default/web", "Service west/default/web"]
    assert set(objects(made)[2:]) == {"EndpointSlice east/default/web-1", "Pod east/default/web-1"}
    assert (made.changed, made.others) == (False, 0)


def test_of_endpoints_the_service_then_the_slices_and_pods(mesh: Mesh) -> None:
    made = traced(mesh, CLIENT, EDS, f"outbound|80||{WEB}")
    assert objects(made)[:2] == ["Service east/default/web", "Service west/default/web"]
    assert "EndpointSlice east/default/web-1" in objects(made)


def test_of_a_listener_of_one_service_that_service(mesh: Mesh) -> None:
    assert objects(traced(mesh, CLIENT, LDS, "10.96.0.2_5432")) == ["Service east/default/db"]
    [bound_name] = [name for name in resources_of(mesh, BOUND, LDS) if name.endswith("_5432")]
    assert objects(traced(mesh, BOUND, LDS, bound_name)) == ["Service east/default/db"]


@pytest.mark.parametrize(("type_url", "name"), [(LDS, "0.0.0.0_80"), (RDS, "80")])
def test_of_what_many_services_share_those_first_that_the_words_name(mesh: Mesh, type_url: str, name: str) -> None:
    words = f"duplicate domain {WEB} in virtual host"
    assert objects(traced(mesh, CLIENT, type_url, name, words))[:2] == ["Service east/default/web", "Service west/default/web"]
    words = "duplicate domain other.default.svc.cluster.local"
    assert objects(traced(mesh, CLIENT, type_url, name, words))[0] == "Service east/default/other"


def test_of_what_is_inbound_the_services_and_the_pod(mesh: Mesh) -> None:
    assert objects(traced(mesh, INSIDE, LDS, "virtualInbound"))[:3] == [
        "Service east/default/web",
        "Service west/default/web",
        "Pod east/default/web-1",
    ]
    assert "Pod east/default/web-1" in objects(traced(mesh, INSIDE, CDS, "inbound|8080||"))


def test_of_what_a_grpc_client_dials_the_service(mesh: Mesh) -> None:
    for type_url in (CDS, EDS, LDS, RDS):
        for name in resources_of(mesh, GRPC, type_url):
            if WEB in name:
                assert objects(traced(mesh, GRPC, type_url, name))[0] == "Service east/default/web"


def test_of_what_is_the_same_for_everyone_nothing(mesh: Mesh) -> None:
    assert traced(mesh, CLIENT, CDS, "BlackHoleCluster") == MadeFrom()


def test_it_says_where_an_object_is_written(mesh: Mesh) -> None:
    for cause in list(mesh.pipeline.origins):
        mesh.pipeline.origins[cause] = Origin(source="east", place=f"{cause[1]}.yaml:7")
    made = traced(mesh, CLIENT, CDS, f"outbound|80||{WEB}")
    assert made.objects[0].place == "east/default/web.yaml:7"


def test_it_says_when_the_resource_is_another_by_now_or_gone(mesh: Mesh) -> None:
    name = f"outbound|80||{WEB}"
    made = traced(mesh, CLIENT, CDS, name, version="an older one")
    assert made.changed
    assert objects(made)[0] == "Service east/default/web"
    graph, origins = mesh.pipeline.graph, mesh.pipeline.origins
    assert made_from(graph.ask, graph.inputs_of, origins, CLIENT.id, (CDS, "outbound|80||gone", "1")) == MadeFrom(changed=True)
    assert made_from(graph.ask, graph.inputs_of, origins, "nobody", (CDS, name, "1")) == MadeFrom(changed=True)


def test_it_names_a_few_objects_and_counts_the_others_however_many_there_are() -> None:
    count = 300
    mesh = Mesh(
        cluster("east", "net-east"),
        service("east", "web"),
        *(pod("east", f"web-{number}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(count)),
        slice_of("east", "web", *(f"10.1.{number // 250}.{number % 250 + 1}=web-{number}" for number in range(count))),
        *(service("east", f"s{number}") for number in range(count)),
        CLIENT,
    )
    made = traced(mesh, CLIENT, EDS, f"outbound|80||{WEB}")
    assert objects(made)[:2] == ["Service east/default/web", "EndpointSlice east/default/web-1"]
    assert len(made.objects) == SHOWN
    assert made.others > 10
    route = traced(mesh, CLIENT, RDS, "80")
    assert len(route.objects) == SHOWN
    assert route.others >= count + 1 - SHOWN


def test_of_secrets_the_workloads_pod(mesh: Mesh) -> None:
    for name in resources_of(mesh, INSIDE, SDS):
        assert traced(mesh, INSIDE, SDS, name) is not None


def test_of_a_routers_listener_its_gateways() -> None:
    mesh = Mesh(
        cluster("east", "net-east"),
        service("east", "web"),
        gateway("east", "edge", SERVER, selector=GATEWAY, namespace="istio-system"),
        ROUTER,
    )
    [name] = resources_of(mesh, ROUTER, LDS)
    assert objects(traced(mesh, ROUTER, LDS, name))[0] == "Gateway east/istio-system/edge"
