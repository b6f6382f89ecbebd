"""The lab's kubelets and controllers: what they write is what Kubernetes would show, and each object changes at once or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from steersman.errors import ConfigError
from steersman.lab.addresses import addresses
from steersman.lab.cluster import Cluster
from steersman.lab.isolation import Isolation
from steersman.lab.manifests import Command, Probe, Proxy, StandIn, containers_of, probes_of
from steersman.lab.objects import SLICE_SIZE, ContainerState
from steersman.model.ids import ClusterID, ObjectKey
from tests.lab.files import Object, node, pod, read, service, write_lab

UP = ContainerState(ready=True, running=True)
READY = {"app": UP, "istio-proxy": UP}


def cluster(directory: Path, objects: list[Object], isolation: Isolation = Isolation.NAMESPACES) -> Cluster:
    """Of these manifests, published."""
    lab, manifests = read(write_lab(directory / "manifests", {"east": objects}))
    made = Cluster(manifests[0], addresses(lab, manifests, isolation), directory / "objects")
    made.publish()
    return made


def shown(made: Cluster, kind: str) -> list[Any]:
    found = [json.loads(file.read_text()) for file in sorted(made.directory.glob("*.json"))]
    return [one for one in found if one["kind"] == kind]


def condition(pod_object: Any, kind: str) -> str:
    return next(str(one["status"]) for one in pod_object["status"]["conditions"] if one["type"] == kind)


def key(name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey(ClusterID("east"), namespace, name)


def test_a_pod_is_ready_once_all_of_its_containers_are_and_its_endpoint_follows(tmp_path: Path) -> None:
    made = cluster(tmp_path, [pod("one"), service("one"), node("n1", "z1")])

    def seen() -> tuple[str, bool]:
        return condition(shown(made, "Pod")[0], "Ready"), shown(made, "EndpointSlice")[0]["endpoints"][0]["conditions"]["ready"]

    assert seen() == ("False", False)
    made.containers_are(key("one"), {"app": UP, "istio-proxy": ContainerState(running=True)})
    assert seen() == ("False", False)
    made.containers_are(key("one"), READY)
    assert seen() == ("True", True)
    made.containers_are(key("one"), {"app": ContainerState(exited=-9), "istio-proxy": UP})
    assert seen() == ("False", False)


def test_an_endpoint_names_its_pod_its_node_and_its_zone_and_the_number_of_the_named_port(tmp_path: Path) -> None:
    made = cluster(tmp_path, [pod("one"), service("one"), node("n1", "z1")])

    (found,) = shown(made, "EndpointSlice")

    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "one"
    assert found["ports"] == [{"name": "http", "port": 9080, "protocol": "TCP"}]
    assert found["endpoints"] == [
        {
            "addresses": ["10.10.0.2"],
            "conditions": {"ready": False, "serving": False, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "one"},
            "nodeName": "n1",
            "zone": "z1",
        }
    ]


def test_pods_whose_named_port_has_another_number_stand_in_a_slice_of_their_own(tmp_path: Path) -> None:
    other = pod("b", app="one")
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9081
    made = cluster(tmp_path, [pod("a", app="one"), other, service("one")])

    found = {(one["ports"][0]["port"], one["endpoints"][0]["targetRef"]["name"]) for one in shown(made, "EndpointSlice")}

    assert found == {(9080, "a"), (9081, "b")}


def test_a_slice_holds_no_more_endpoints_than_kubernetes_puts_into_one(tmp_path: Path) -> None:
    made = cluster(tmp_path, [*(pod(f"p{number:03}", app="one") for number in range(SLICE_SIZE + 5)), service("one")])

    assert sorted(len(one["endpoints"]) for one in shown(made, "EndpointSlice")) == [5, SLICE_SIZE]


def test_only_the_objects_that_a_change_concerns_are_written_again(tmp_path: Path) -> None:
    made = cluster(tmp_path, [pod("one"), pod("two"), service("one"), service("two")])

    def versions() -> dict[str, str]:
        return {file.name: json.loads(file.read_text())["metadata"]["resourceVersion"] for file in made.directory.glob("*.json")}

    before = versions()
    made.containers_are(key("one"), READY)
    after = versions()

    assert {name for name in after if after[name] != before[name]} == {"pod.default.one.json", "endpointslice.default.one-1.json"}
    made.containers_are(key("one"), READY)
    assert versions() == after, "what is told twice is written once"
    assert not list(made.directory.glob(".*")), "nothing half-written stays"


def test_a_load_balancer_gets_its_addresses_and_a_service_its_cluster_ip(tmp_path: Path) -> None:
    made = cluster(tmp_path, [pod("gw"), service("gw", type="LoadBalancer"), service("none", clusterIP="None")])

    gateway, headless = shown(made, "Service")

    assert gateway["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.2"}]
    assert gateway["spec"]["clusterIPs"] == [gateway["spec"]["clusterIP"]]
    assert headless["spec"]["clusterIP"] == "None"


def gateway() -> Object:
    servers = [{"port": {"number": 15443, "protocol": "TLS", "name": "tls"}, "hosts": ["*.local"], "tls": {"mode": "AUTO_PASSTHROUGH"}}]
    return {"kind": "Gateway", "metadata": {"name": "gw"}, "spec": {"selector": {"app": "gw"}, "servers": servers}}


def test_on_loopback_a_gateway_listens_on_its_pods_address_only(tmp_path: Path) -> None:
    isolated, shared = (cluster(tmp_path / kind, [pod("gw"), gateway()], kind) for kind in Isolation)

    assert "bind" not in shown(isolated, "Gateway")[0]["spec"]["servers"][0]
    assert shown(shared, "Gateway")[0]["spec"]["servers"][0]["bind"] == shown(shared, "Pod")[0]["status"]["podIP"]


def test_on_loopback_a_gateway_of_two_pods_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"Gateway east/default/gw.spec.selector: got 'east/default/g1, east/default/g2', expected one pod"
    ):
        cluster(tmp_path, [pod("g1", app="gw"), pod("g2", app="gw"), gateway()], Isolation.LOOPBACK)


@pytest.mark.parametrize(
    ("container", "meant"),
    [
        ({"image": "bookinfo/reviews:v2"}, StandIn("c", "reviews", "v2", (9080,), {})),
        ({"image": "docker.io/bookinfo/reviews", "ports": [{"containerPort": 81}]}, StandIn("c", "reviews", "v1", (81,), {})),
        ({"image": "envoyproxy/envoy:v1.40.0", "args": ["proxy", "router"]}, Proxy("c", "router")),
        ({"image": "docker.io/istio/proxyv2:1.30"}, Proxy("c", "sidecar")),
        (
            {"image": "anything", "command": ["sleep"], "args": [5], "env": [{"name": "A", "value": "b"}]},
            Command("c", ("sleep", "5"), {"A": "b"}),
        ),
    ],
)
def test_an_image_says_what_a_container_is(container: Object, meant: object) -> None:
    found = containers_of({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", **container}]}}, Path("file.yaml"))

    assert found == (meant,)


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ([{"name": "c", "image": "nginx"}], "Pod p.spec.containers[0].image: got 'nginx', expected bookinfo/APP:VERSION"),
        ([{"name": "c"}], "Pod p.spec.containers: got [{'name': 'c'}], expected a list of containers with name and image"),
        ([], "Pod p.spec.containers: got [], expected a list"),
        ([{"name": name, "image": "envoy"} for name in "ab"], "Pod p.spec.containers: got 'several proxies', expected at most one"),
    ],
)
def test_a_container_that_can_not_be_run_is_refused(containers: list[Object], said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        containers_of({"metadata": {"name": "p"}, "spec": {"containers": containers}}, Path("file.yaml"))

    assert f"file.yaml: {said}" in str(wrong.value)


def test_readiness_is_asked_for_as_the_manifest_says() -> None:
    http = {"httpGet": {"path": "/up", "port": "web"}, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 4}
    containers = [
        {"name": "http", "ports": [{"name": "web", "containerPort": 81}], "readinessProbe": http},
        {"name": "tcp", "readinessProbe": {"tcpSocket": {"port": 82}}},
        {"name": "unsaid", "ports": [{"containerPort": 83}]},
        {"name": "none"},
    ]

    found = probes_of({"spec": {"containers": containers}})

    assert found == {"http": Probe(81, "/up", 2, 3, 4), "tcp": Probe(82, ""), "unsaid": Probe(83, "")}
