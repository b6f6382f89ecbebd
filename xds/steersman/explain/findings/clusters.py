"""What is wrong with clusters beside each other."""

from collections.abc import Iterator

from steersman.explain.findings.mesh import Mesh, Step, listed
from steersman.model.facts import Finding
from steersman.model.ids import ClusterID
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind
from steersman.registry.collections import CLUSTER_STATES


def clusters(mesh: Mesh) -> Iterator[Step]:
    """Of those that are read from their API."""
    yield [_twice(mesh)]


def _twice(mesh: Mesh) -> Iterator[Finding]:
    """One cluster under several names, told by the uid of its namespace kube-system: all that runs there counts as often."""
    by_uid: dict[str, list[ClusterID]] = {}
    for name, health in sorted(mesh.rows(CLUSTER_STATES).items()):
        if health.uid:
            by_uid.setdefault(health.uid, []).append(name)
    for names in by_uid.values():
        for other in names[1:]:
            yield mesh.finding(
                "cluster-twice",
                ObjectRef(Kind.CLUSTER, other),
                f"it is the same cluster as {listed(names[:1])}: both have the uid of one namespace kube-system",
                "remove one of the two from the configuration, or correct the kubeconfig that leads to the wrong cluster",
            )
