"""How each cluster stands, as messages."""

from collections.abc import Iterable

from steersman.admin import inspect_pb2 as pb
from steersman.admin.answers import timestamp
from steersman.admin.state import CLUSTER_KINDS, SourceState, SourceStatus
from steersman.model.clusters import ClusterState
from steersman.model.removals import HeldRemoval
from steersman.sources.kube.state import ClusterStatus, ResourceStatus

_STATES = {
    ClusterState.SYNCING: pb.Cluster.SYNCING,
    ClusterState.SYNCED: pb.Cluster.SYNCED,
    ClusterState.FORBIDDEN: pb.Cluster.FORBIDDEN,
    ClusterState.STALE: pb.Cluster.STALE,
    ClusterState.UNAUTHORISED: pb.Cluster.UNAUTHORISED,
    ClusterState.UNREACHABLE: pb.Cluster.UNREACHABLE,
}
_OF_FILES = {
    SourceState.SYNCING: pb.Cluster.SYNCING,
    SourceState.TIMED_OUT: pb.Cluster.SYNCING,
    SourceState.SYNCED: pb.Cluster.SYNCED,
    SourceState.FAILED: pb.Cluster.STALE,
}


def clusters(sources: Iterable[SourceStatus]) -> pb.ListClustersResponse:
    return pb.ListClustersResponse(clusters=[_cluster(source) for source in sources if source.kind in CLUSTER_KINDS])


def _cluster(source: SourceStatus) -> pb.Cluster:
    message = pb.Cluster(name=source.name, kind=source.kind, place=source.place, objects=source.objects, registered_by=source.registered)
    if source.cluster is None:
        message.state = _OF_FILES[source.state]
        message.problem = source.error
    else:
        _take(message, source.cluster)
    return message


def _take(message: pb.Cluster, status: ClusterStatus) -> None:
    message.server = status.server
    message.uid = status.uid
    message.state = _STATES[status.state]
    message.since.CopyFrom(timestamp(status.since))
    if status.contact:
        message.contact.CopyFrom(timestamp(status.contact))
    message.problem = status.problem
    message.outage_policy = status.policy
    message.outage_after = status.after
    message.outage = status.outage
    message.credentials_unused = status.unused
    if status.warm:
        message.warm.CopyFrom(timestamp(status.warm))
    if status.kept:
        message.kept.CopyFrom(timestamp(status.kept))
    message.resources.extend(_resource(resource) for resource in status.resources)
    message.held.extend(held_removal(held) for held in status.held)
    message.held_endpoints = status.held_endpoints


def held_removal(held: HeldRemoval) -> pb.HeldRemoval:
    return pb.HeldRemoval(
        object=str(held.object) if held.is_of_service else f"{held.object.kind} {held.object.key.cluster}",
        count=held.count,
        before=held.before,
        since=timestamp(held.since),
        until=timestamp(held.until),
        cause=held.cause,
        release=held.release,
    )


def _resource(resource: ResourceStatus) -> pb.ClusterResource:
    return pb.ClusterResource(
        name=resource.name,
        version=resource.version,
        state=resource.standing,
        whole=resource.whole,
        optional=resource.optional,
        objects=resource.objects,
        warm=resource.warm,
        problem=resource.problem,
    )
