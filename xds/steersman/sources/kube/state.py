"""How a cluster and its resources stand, worked out from what is known of them. Pure."""

from collections.abc import Sequence
from enum import StrEnum

from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.ids import ClusterID
from steersman.model.objects import Row
from steersman.sources.kube.reflector import Standing

LOST = (Standing.FAILING, Standing.UNREACHABLE, Standing.UNAUTHORISED)
"""What was held of such a resource is not followed any more."""


class Pulse(StrEnum):
    """What came of the last heartbeat; NONE before the first."""

    NONE = ""
    ALIVE = "alive"
    FAILING = "failing"
    UNAUTHORISED = "unauthorised"
    UNREACHABLE = "unreachable"


class ResourceStatus(Row, frozen=True, kw_only=True):
    """One resource of one cluster. `name`: as RBAC calls it. `version`: the one that is read, "" before that is known, or where none is
    served. `optional`: a cluster need not have it. `whole`: all of it was told once. `problem`: the server's words, or ours."""

    name: str
    version: str
    standing: Standing
    whole: bool
    optional: bool = False
    objects: int = 0
    problem: str = ""


class ClusterStatus(Row, frozen=True, kw_only=True):
    """A cluster as its source sees it. `server`: the API's URL. `uid`: of its namespace kube-system, "" before that is known. `since`: of
    `state`, wall clock seconds. `contact`: wall clock seconds of the last time at which all was well, 0 for never. `policy`, `after`: what
    is done when that is so many seconds ago; `outage`: whether it is done now."""

    cluster: ClusterID
    server: str
    state: ClusterState
    since: float
    contact: float
    uid: str = ""
    problem: str = ""
    policy: OutagePolicy = OutagePolicy.KEEP
    after: float = 0.0
    outage: bool = False
    resources: tuple[ResourceStatus, ...] = ()


def is_followed(resources: Sequence[ResourceStatus]) -> bool:
    """Whether everything that was held once is being followed."""
    return not any(resource.whole and resource.standing in LOST for resource in resources)


def is_settled(resource: ResourceStatus) -> bool:
    """Whether all is told that can be expected of this resource for now."""
    return resource.whole or (resource.optional and resource.standing in (Standing.MISSING, Standing.FORBIDDEN))


def cluster_state(resources: Sequence[ResourceStatus], pulse: Pulse, problem: str) -> tuple[ClusterState, str]:
    """The state, and what is wrong in words; the worst comes first. `problem`: what the last heartbeat met."""
    asked = [resource for resource in resources if not (resource.optional and resource.standing is Standing.MISSING)]
    for standing, failed, state in (
        (Standing.UNREACHABLE, Pulse.UNREACHABLE, ClusterState.UNREACHABLE),
        (Standing.UNAUTHORISED, Pulse.UNAUTHORISED, ClusterState.UNAUTHORISED),
    ):
        if pulse is failed or all(resource.standing is standing for resource in asked):
            return state, problem or asked[0].problem
    lost = [resource for resource in asked if resource.standing in LOST]
    if any(resource.whole for resource in lost):
        return ClusterState.STALE, _words(lost)
    if lost or not all(is_settled(resource) or resource.standing is Standing.FORBIDDEN for resource in asked):
        return ClusterState.SYNCING, _words(lost)
    if pulse is Pulse.FAILING:
        return ClusterState.STALE, problem
    refused = [resource for resource in asked if resource.standing in (Standing.FORBIDDEN, Standing.MISSING)]
    return (ClusterState.FORBIDDEN, _words(refused)) if refused else (ClusterState.SYNCED, "")


def _words(resources: Sequence[ResourceStatus]) -> str:
    """What is wrong with which; those with the same trouble together."""
    by_problem: dict[str, list[str]] = {}
    for resource in resources:
        by_problem.setdefault(resource.problem, []).append(resource.name)
    return "; ".join(f"{', '.join(names)}: {problem}" for problem, names in by_problem.items())
