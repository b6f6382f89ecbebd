"""A running server whose clusters are read from their API, from files, and one from nowhere: proxies see one mesh, whatever fails."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steersman.names import CDS, EDS
from tests.cli.conftest import steersman
from tests.live.mesh import EAST, HTTP, TARGETS, outbound
from tests.support.apiserver.double import Double, kubeconfig
from tests.support.live import ControlPlane, eventually
from tests.support.objects import NAMESPACE, Object, endpoint, pod, service, slice_of
from tests.support.running import free_port
from tests.support.served import MESSAGES
from tests.support.streams import DeltaStream, node_of

WEB = outbound("web", HTTP)


def web(*pods: tuple[str, str]) -> list[Object]:
    """The service and its pods, each with its address."""
    return [
        service("web", {"http": (HTTP, TARGETS["http"])}, ip="10.96.0.1"),
        slice_of("web", {"http": TARGETS["http"]}, [endpoint(name, ip) for name, ip in pods]),
        *(pod(name, ip) for name, ip in pods),
    ]


@pytest.fixture
def api() -> Iterator[Double]:
    with Double() as running:
        running.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
        running.apply(*web(("web-1", "10.0.0.1")))
        yield running


@pytest.fixture
def plane(api: Double, tmp_path: Path) -> Iterator[ControlPlane]:
    """East is read from its API, west from files, and north can't be reached. All are on one network."""
    (tmp_path / "east.kubeconfig").write_text(json.dumps(api.kubeconfig()))
    nowhere = kubeconfig(f"https://{api.address}:{free_port(api.address)}", api.ca.data, "token", "north")
    (tmp_path / "north.kubeconfig").write_text(json.dumps(nowhere))
    clusters: dict[str, dict[str, Any]] = {
        "east": {"network": "n", "kubernetes": {"kubeconfig": "east.kubeconfig", "context": "double"}},
        "west": {"network": "n"},
        "north": {"network": "n", "kubernetes": {"kubeconfig": "north.kubeconfig"}, "syncTimeout": "2m"},
    }
    plane = ControlPlane(tmp_path, clusters)
    plane.clusters["west"].put("web.yaml", *web(("web-9", "10.0.0.9")))
    yield plane
    plane.stop()


def addresses(resource: Any) -> list[str]:
    """Of the endpoints in a resource of EDS, sorted."""
    assignment = MESSAGES[EDS].FromString(resource.resource.value)
    return sorted(one.endpoint.address.socket_address.address for group in assignment.endpoints for one in group.lb_endpoints)


def pushed(stream: DeltaStream, *expected: str) -> None:
    """Waits for an assignment of web with these addresses."""
    found: list[str] = []
    while found != sorted(expected):
        response = stream.response()
        stream.acknowledge(response)
        found = next((addresses(one) for one in response.resources if one.name == WEB), found)


def sources(plane: ControlPlane) -> dict[str, str]:
    return {source["name"]: source["state"] for source in plane.json("/debug/sources")["sources"]}


def test_one_mesh_of_apis_and_files_is_served_soon_though_a_cluster_is_dead_and_kept_while_others_fail(
    plane: ControlPlane, api: Double
) -> None:
    began = time.monotonic()
    plane.start().ready(60)
    assert time.monotonic() - began < 60, "a dead cluster is not waited for until its syncTimeout"
    assert sources(plane) == {"east": "SYNCED", "west": "SYNCED", "north": "TIMED_OUT", "ca": "SYNCED", "dns": "SYNCED"}
    assert [one["object"] for one in plane.findings()["cluster-unreachable"]] == ["Cluster north"]
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        assert WEB in stream.take(CDS)
        assert addresses(stream.take(EDS, WEB)[WEB]) == ["10.0.0.1", "10.0.0.9"]
        api.apply(*web(("web-1", "10.0.0.1"), ("web-2", "10.0.0.2")))
        pushed(stream, "10.0.0.1", "10.0.0.2", "10.0.0.9")
        api.stop()
        eventually(lambda: len(plane.findings()["cluster-unreachable"]) == 2)
        assert {one["name"]: one["state"] for one in plane.json("/debug/clusters")["clusters"]} == {
            "east": "UNREACHABLE",
            "west": "SYNCED",
            "north": "UNREACHABLE",
        }
        query = "proxy=client-east&service=web"
        (note,) = plane.json(f"/debug/explain?{query}")["notes"]
        assert note.startswith("cluster east is unreachable since 20")
        assert note.endswith("what it told last stands")
        ages = plane.metrics("steersman_cluster_contact_age_seconds")
        assert list(ages) == ['{cluster="east"}']
        assert 2 < ages['{cluster="east"}'] < 60
        plane.clusters["west"].put("web.yaml", *web(("web-8", "10.0.0.8")))
        pushed(stream, "10.0.0.1", "10.0.0.2", "10.0.0.8")
        api.apply(*web(("web-2", "10.0.0.2")))
        api.delete("Pod", "web-1", NAMESPACE)
        api.start()
        pushed(stream, "10.0.0.2", "10.0.0.8")
        eventually(lambda: len(plane.findings()["cluster-unreachable"]) == 1)


def priorities(resource: Any) -> dict[str, int]:
    """Of the endpoints in a resource of EDS, by address."""
    assignment = MESSAGES[EDS].FromString(resource.resource.value)
    return {one.endpoint.address.socket_address.address: group.priority for group in assignment.endpoints for one in group.lb_endpoints}


def test_endpoints_of_a_cluster_whose_api_is_silent_go_by_its_outage_policy_until_it_is_back(api: Double, tmp_path: Path) -> None:
    """East's and south's policy is not the same: one is the mesh's, the other south's own."""
    with Double() as other:
        other.apply(*web(("web-5", "10.0.0.5")))
        clusters: dict[str, dict[str, Any]] = {"west": {"network": "n"}}
        for name, running, outage in (("east", api, {"after": "3s"}), ("south", other, {"after": "3s", "policy": "drop"})):
            (tmp_path / f"{name}.kubeconfig").write_text(json.dumps(running.kubeconfig()))
            clusters[name] = {"network": "n", "kubernetes": {"kubeconfig": f"{name}.kubeconfig"}, "outage": outage}
        plane = ControlPlane(tmp_path, clusters, outage={"policy": "demote"})
        plane.clusters["west"].put("web.yaml", *web(("web-9", "10.0.0.9")))
        all_well = {"10.0.0.1": 0, "10.0.0.5": 0, "10.0.0.9": 0}
        try:
            plane.start().ready(60)
            with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
                stream.take(CDS)
                assert priorities(stream.take(EDS, WEB)[WEB]) == all_well
                for one in (api, other):
                    one.stop()
                assigned(stream, {"10.0.0.1": 1, "10.0.0.9": 0})
                for one in (api, other):
                    one.start()
                assigned(stream, all_well)
        finally:
            plane.stop()


def assigned(stream: DeltaStream, expected: dict[str, int]) -> None:
    """Waits for an assignment of web with these addresses, each at its priority."""
    found: dict[str, int] = {}
    while found != expected:
        response = stream.response()
        stream.acknowledge(response)
        found = next((priorities(one) for one in response.resources if one.name == WEB), found)


async def test_commands_without_a_server_read_the_same_clusters(plane: ControlPlane, tmp_path: Path) -> None:
    node = tmp_path / "node.yaml"
    node.write_text(json.dumps(node_of(EAST.client)))
    ran, told_by_doctor = await asyncio.gather(  # each waits for north
        steersman("render", "-c", plane.config, "--node", node, "-o", "json", "--type", "eds"),
        steersman("doctor", "-c", plane.config, "-o", "json"),
    )
    assert ran.code == 0, ran.err
    (assignment,) = [one for one in json.loads(ran.out)["endpoints"] if one["cluster_name"] == WEB]
    found = [one["endpoint"]["address"]["socket_address"]["address"] for group in assignment["endpoints"] for one in group["lb_endpoints"]]
    assert sorted(found) == ["10.0.0.1", "10.0.0.9"]
    told = [(one["id"], one["object"]) for one in json.loads(told_by_doctor.out)]
    assert [one for one in told if one[1].startswith("Cluster")] == [
        ("cluster-unreachable", "Cluster north"),
        ("source-not-synced", "Cluster north"),
    ]
    assert told_by_doctor.code == 1
