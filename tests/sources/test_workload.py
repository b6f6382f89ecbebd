"""v1 Pod, Node and Namespace -> rows."""

from typing import Any

import pytest

from steersman.model.ids import ClusterID, Locality, ObjectKey
from steersman.model.objects import Namespace, Node, Pod
from tests.sources.decoding import complaints, made

READY = [{"type": "Ready", "status": "True"}]


def pod(**fields: Any) -> Pod:
    row: Pod = made("Pod", **fields).value
    return row


def test_a_pod_as_the_api_server_prints_it_is_kept_in_full() -> None:
    decoded = made(
        "Pod",
        name="web-0",
        meta={"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "web", "istio-locality": "r1.z1.s1"}, "ownerReferences": []},
        spec={
            "nodeName": "node-1",
            "serviceAccountName": "web",
            "containers": [
                {
                    "name": "app",
                    "image": "x",
                    "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}, {"name": "bad", "containerPort": 0}],
                },
                {"name": "other", "ports": None},
            ],
            "initContainers": [
                {"name": "init", "ports": [{"name": "never", "containerPort": 1}]},
                {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "metrics", "containerPort": 15090}]},
            ],
        },
        status={
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}],
            "conditions": READY,
            "hostIP": "1.1.1.1",
        },
    )
    assert decoded.complaints == ()
    assert decoded.value == Pod(
        key=ObjectKey(ClusterID("east"), "ns", "web-0"),
        created="2026-01-01T00:00:00Z",
        ips=("10.0.0.1", "fd00::1"),
        labels=(("app", "web"), ("istio-locality", "r1.z1.s1")),
        locality_label="r1/z1/s1",
        node="node-1",
        service_account="web",
        ports=(("http", 8080), ("metrics", 15090)),
        ready=True,
    )


def test_the_least_pod_runs_as_default_and_is_not_ready() -> None:
    assert pod() == Pod(key=ObjectKey(ClusterID("east"), "ns", "a"))
    assert pod(status={"podIP": "10.0.0.1"}).ips == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("status", "meta", "state"),
    [
        ({"phase": "Running", "conditions": READY}, {}, (True, True, False)),
        ({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}, {}, (True, False, False)),
        ({"phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}]}, {}, (True, False, False)),
        ({"phase": "Succeeded", "conditions": READY}, {}, (False, False, False)),
        ({"phase": "Failed", "conditions": READY}, {}, (False, False, False)),
        ({"phase": "Running", "conditions": READY}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, (True, False, True)),
    ],
)
def test_a_pod_is_ready_while_it_runs_and_is_not_being_deleted(status: Any, meta: Any, state: tuple[bool, bool, bool]) -> None:
    row = pod(status=status, meta=meta)
    assert (row.active, row.ready, row.terminating) == state


@pytest.mark.parametrize(("text", "locality"), [("r", "r"), ("r.z", "r/z"), ("r/z.1", "r/z.1"), ("", "")])
def test_the_locality_label_has_dots_for_slashes(text: str, locality: str) -> None:
    assert pod(meta={"labels": {"istio-locality": text}}).locality_label == locality


def test_a_bad_pod_address_costs_only_itself() -> None:
    decoded = made("Pod", status={"podIPs": [{"ip": "x"}, {}, {"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]})
    assert decoded.value.ips == ("10.0.0.1",)
    assert complaints(decoded)["bad-address"].startswith("status.podIPs[0] is 'x'")


@pytest.mark.parametrize(
    ("labels", "locality"),
    [
        (
            {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z", "topology.istio.io/subzone": "s"},
            Locality("r", "z", "s"),
        ),
        ({"failure-domain.beta.kubernetes.io/region": "r", "failure-domain.beta.kubernetes.io/zone": "z"}, Locality("r", "z")),
        ({"failure-domain.beta.kubernetes.io/region": "old", "topology.kubernetes.io/region": "new"}, Locality("new")),
        ({}, Locality()),
        (None, Locality()),
    ],
)
def test_a_nodes_locality_is_its_labels(labels: Any, locality: Locality) -> None:
    assert made("Node", namespace=None, meta={"labels": labels}).value.locality == locality


def test_a_nodes_external_addresses_go_before_its_internal_ones() -> None:
    external = [
        {"type": "InternalIP", "address": "10.0.0.1"},
        {"type": "ExternalIP", "address": "203.0.113.1"},
        {"type": "Hostname", "address": "n"},
    ]
    key = ObjectKey(ClusterID("east"), "", "n1")
    assert made("Node", name="n1", namespace=None, status={"addresses": external}).value == Node(key=key, addresses=("203.0.113.1",))
    assert made("Node", namespace=None, status={"addresses": external[:1]}).value.addresses == ("10.0.0.1",)
    broken = made("Node", namespace=None, status={"addresses": [{"type": "ExternalIP", "address": "x"}, *external[:1]]})
    assert broken.value.addresses == ("10.0.0.1",)
    assert list(complaints(broken)) == ["bad-address"]


def test_nodes_and_namespaces_are_in_no_namespace_whatever_they_say() -> None:
    assert made("Node", namespace="x").key == ObjectKey(ClusterID("east"), "", "a")
    decoded = made("Namespace", name="istio-system", namespace=None, meta={"labels": {"topology.istio.io/network": "n"}})
    assert decoded.value == Namespace(key=ObjectKey(ClusterID("east"), "", "istio-system"), labels=(("topology.istio.io/network", "n"),))
