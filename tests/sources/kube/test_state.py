"""How a cluster stands, by how its resources do and what came of its heartbeat."""

import pytest

from steersman.model.clusters import ClusterState
from steersman.model.ids import ClusterID
from steersman.sources.kube.findings import cluster_findings
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.state import ClusterStatus, Pulse, ResourceStatus, cluster_state, is_followed, is_settled

S = Standing
ALIVE = Pulse.ALIVE


def of(name: str, standing: Standing, *, whole: bool = True, problem: str = "") -> ResourceStatus:
    return ResourceStatus(
        name=name,
        version="v1",
        standing=standing,
        whole=whole,
        optional="." in name,
        problem=problem or ("" if standing is S.SYNCED else "no"),
    )


def resources(
    pods: Standing = S.SYNCED, gateways: Standing = S.SYNCED, services: Standing = S.SYNCED, *, whole: bool = True
) -> list[ResourceStatus]:
    return [of("services", services, whole=whole), of("pods", pods, whole=whole), of("gateways.istio", gateways, whole=whole)]


@pytest.mark.parametrize(
    ("told", "pulse", "state", "problem"),
    [
        (resources(), ALIVE, ClusterState.SYNCED, ""),
        (resources(), Pulse.NONE, ClusterState.SYNCED, ""),
        (resources(gateways=S.MISSING), ALIVE, ClusterState.SYNCED, ""),
        (resources(gateways=S.FAILING), ALIVE, ClusterState.SYNCED, ""),
        (resources(gateways=S.FORBIDDEN), ALIVE, ClusterState.FORBIDDEN, "gateways.istio: no"),
        (resources(S.FORBIDDEN, services=S.FORBIDDEN), ALIVE, ClusterState.FORBIDDEN, "services, pods: no"),
        (resources(S.MISSING), ALIVE, ClusterState.FORBIDDEN, "pods: no"),
        (resources(S.FAILING), ALIVE, ClusterState.STALE, "pods: no"),
        (resources(S.SYNCING), ALIVE, ClusterState.STALE, "pods: no"),
        (resources(), Pulse.FAILING, ClusterState.STALE, "beat"),
        (resources(S.SYNCING, whole=False), ALIVE, ClusterState.SYNCING, "pods: no"),
        (resources(S.FAILING, whole=False), ALIVE, ClusterState.SYNCING, "pods: no"),
        (resources(), Pulse.UNREACHABLE, ClusterState.UNREACHABLE, "beat"),
        (resources(S.UNREACHABLE, services=S.UNREACHABLE), Pulse.NONE, ClusterState.UNREACHABLE, "beat"),
        (resources(S.UNREACHABLE), ALIVE, ClusterState.STALE, "pods: no"),
        (resources(), Pulse.UNAUTHORISED, ClusterState.UNAUTHORISED, "beat"),
        (resources(S.UNAUTHORISED, services=S.UNAUTHORISED), ALIVE, ClusterState.UNAUTHORISED, "beat"),
    ],
)
def test_the_worst_counts(told: list[ResourceStatus], pulse: Pulse, state: ClusterState, problem: str) -> None:
    assert cluster_state(told, pulse, "beat") == (state, problem)


def test_contact_needs_all_that_every_cluster_has() -> None:
    assert is_followed(resources())
    assert is_followed(resources(gateways=S.FAILING))
    assert not is_followed(resources(S.FAILING))
    assert is_followed(resources(S.FAILING, whole=False)), "what was never held can't be lost"
    assert is_followed(resources(S.FORBIDDEN))


def test_a_resource_that_a_cluster_need_not_have_is_not_waited_for_where_there_is_none() -> None:
    assert is_settled(of("gateways.istio", S.MISSING, whole=False))
    assert is_settled(of("gateways.istio", S.FORBIDDEN, whole=False))
    assert not is_settled(of("gateways.istio", S.FAILING, whole=False))
    assert not is_settled(of("pods", S.FORBIDDEN, whole=False))


def found(state: ClusterState, *told: ResourceStatus, contact: float = 7.0) -> list[tuple[str, str, str]]:
    status = ClusterStatus(
        cluster=ClusterID("east"), server="https://e", state=state, since=1.0, contact=contact, problem="why", resources=told
    )
    return [(one.id, one.severity, one.object) for one in cluster_findings(status, "kubeconfig")]


def test_each_trouble_has_its_finding_and_a_sound_cluster_none() -> None:
    assert found(ClusterState.SYNCED, *resources(gateways=S.MISSING)) == []
    assert found(ClusterState.UNREACHABLE) == [("cluster-unreachable", "error", "Cluster east")]
    assert found(ClusterState.UNAUTHORISED) == [("cluster-unauthorised", "error", "Cluster east")]
    assert found(ClusterState.STALE, of("gateways.istio", S.FAILING)) == [("cluster-stale", "warning", "Cluster east")]
    assert found(ClusterState.SYNCED, of("gateways.istio", S.FAILING)) == [("resource-failing", "warning", "Resource east/gateways.istio")]
    assert found(ClusterState.FORBIDDEN, of("pods", S.FORBIDDEN), of("gateways.istio", S.FORBIDDEN), of("nodes", S.MISSING)) == [
        ("resource-forbidden", "error", "Resource east/pods"),
        ("resource-forbidden", "warning", "Resource east/gateways.istio"),
        ("resource-missing", "error", "Resource east/nodes"),
    ]
