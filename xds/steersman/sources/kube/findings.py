"""What should be mended about a cluster's API, as findings. Pure."""

from collections.abc import Iterator

from steersman.model.clusters import ClusterState, moment
from steersman.model.facts import Finding, Severity
from steersman.model.ids import ClusterID
from steersman.model.removals import HeldRemoval
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.rights import verbs_on
from steersman.sources.kube.state import ClusterStatus, ResourceStatus
from steersman.sources.report import Complaint

_STATES = {
    ClusterState.UNREACHABLE: (
        "cluster-unreachable",
        Severity.ERROR,
        "see whether the API server runs and can be reached from here: its address, DNS, firewalls, its certificate",
    ),
    ClusterState.UNAUTHORISED: (
        "cluster-unauthorised",
        Severity.ERROR,
        "give the kubeconfig credentials that are valid; it is read again by itself",
    ),
    ClusterState.STALE: (
        "cluster-stale",
        Severity.WARNING,
        "see what the API server's log says of these requests; they are tried again by themselves",
    ),
}


def cluster_findings(status: ClusterStatus, place: str) -> Iterator[Finding]:
    """Those of the cluster as a whole, then those of its resources. `place`: where its credentials come from."""
    if status.state in _STATES:
        kind, severity, remedy = _STATES[status.state]
        left = _left(status)
        yield Finding(
            id=kind,
            severity=severity,
            object=f"Cluster {status.cluster}",
            place=place,
            cause=f"{status.server or 'its API'}: {status.problem}; {left}",
            remedy=remedy,
        )
    if status.unused:
        yield Finding(
            id="cluster-credentials-unused",
            severity=Severity.ERROR,
            object=f"Cluster {status.cluster}",
            place=place,
            cause=f"the API doesn't answer to its new credentials ({status.unused}); those of before are used as long as they are good",
            remedy="correct the kubeconfig; it is tried again by itself",
        )
    for resource in status.resources:
        if resource.standing is Standing.FORBIDDEN:
            yield _forbidden(status, resource, place)
        elif resource.standing is Standing.MISSING and not resource.optional:
            yield _missing(status, resource, place)
        elif resource.standing is Standing.FAILING and resource.optional and status.state not in _STATES:
            yield _failing(status, resource, place)


def warm_finding(cluster: ClusterID, complaint: Complaint, path: str) -> Finding:
    """Of the warm file at this path."""
    return Finding(
        id=complaint.id,
        severity=complaint.severity,
        object=f"Cluster {cluster}",
        place=path,
        cause=complaint.cause,
        remedy=complaint.remedy,
    )


def _left(status: ClusterStatus) -> str:
    """What there is in place of what the API does not tell."""
    if not status.contact:
        return "nothing is known of it"
    if not status.warm:
        return "what it told before stands"
    objects = sum(resource.warm for resource in status.resources)
    return f"{objects} objects stand as its warm file has them, of {moment(status.warm)}"


def removal_held(held: HeldRemoval, place: str) -> Finding:
    cluster = held.object.key.cluster
    return Finding(
        id="removal-held",
        severity=Severity.WARNING,
        object=str(held.object) if held.is_of_service else f"Resource {cluster}/{held.object.kind}",
        place=place,
        cause=f"{held.cause}; {held.count} are shown as they were last, until {moment(held.until)}",
        remedy=f"where the cluster is right, `{held.release}` lets go of them at once; else see what became of its API",
    )


def _forbidden(status: ClusterStatus, resource: ResourceStatus, place: str) -> Finding:
    group = resource.name.partition(".")[2]
    plural = resource.name.partition(".")[0]
    verbs = ", ".join(f'"{verb}"' for verb in verbs_on(plural))
    without = "the mesh is served without them"
    if resource.whole or resource.restored:
        from_file = resource.warm and not resource.whole
        without = f"the {resource.warm} of its warm file stand" if from_file else "what it told before stands"
    role = f"a Role in its namespace {resource.namespace}" if resource.namespace else "its ClusterRole"
    return Finding(
        id="resource-forbidden",
        severity=Severity.WARNING if resource.optional else Severity.ERROR,
        object=f"Resource {status.cluster}/{resource.name}",
        place=place,
        cause=f"Steersman may not read the cluster's {plural}, so {without} ({resource.problem})",
        remedy=f'add this rule to {role}: {{apiGroups: ["{group}"], resources: ["{plural}"], verbs: [{verbs}]}}',
    )


def _failing(status: ClusterStatus, resource: ResourceStatus, place: str) -> Finding:
    return Finding(
        id="resource-failing",
        severity=Severity.WARNING,
        object=f"Resource {status.cluster}/{resource.name}",
        place=place,
        cause=f"it can't be followed ({resource.problem}); what it told before stands",
        remedy="see what the API server's log says of these requests; they are tried again by themselves",
    )


def _missing(status: ClusterStatus, resource: ResourceStatus, place: str) -> Finding:
    return Finding(
        id="resource-missing",
        severity=Severity.ERROR,
        object=f"Resource {status.cluster}/{resource.name}",
        place=place,
        cause=f"{status.server} serves no {resource.name} {resource.version} ({resource.problem}); every cluster has them",
        remedy="see whether `server` is the URL of a Kubernetes API, with nothing after the port that doesn't belong there",
    )
