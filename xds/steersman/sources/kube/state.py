"""How a cluster and its resources stand, worked out from what is known of them. Pure."""

from collections.abc import Sequence
from enum import StrEnum

from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.ids import ClusterID
from steersman.model.objects import Row
from steersman.model.removals import HeldRemoval
from steersman.sources.kube.reflector import Standing

_LOST = (Standing.FAILING, Standing.UNREACHABLE, Standing.UNAUTHORISED, Standing.SYNCING)


class Pulse(StrEnum):
    """What came of the last heartbeat; NONE before the first."""

    NONE = ""
    ALIVE = "alive"
    FAILING = "failing"
    UNAUTHORISED = "unauthorised"
    UNREACHABLE = "unreachable"


class ResourceStatus(Row, frozen=True, kw_only=True):
    """One resource of one cluster. `name`: as RBAC calls it. `namespace`: the one that it is read in, "" for all. `version`: the one that
    is read, "" before that is known, or where none is served. `optional`: a cluster need not have it. `whole`: all of it was told once.
    `warm`: how many of the objects are from a warm file, and not told since; `restored`: whether any are from there, or from a run before.
    `problem`: the server's words, or ours."""

    name: str
    version: str
    standing: Standing
    whole: bool
    optional: bool = False
    objects: int = 0
    warm: int = 0
    restored: bool = False
    problem: str = ""
    namespace: str = ""


class ClusterStatus(Row, frozen=True, kw_only=True):
    """A cluster as its source sees it. `server`: the API's URL. `uid`: of its namespace kube-system, "" before that is known. `since`: of
    `state`, wall clock seconds. `contact`: wall clock seconds of the last time at which all was well, 0 for never. `policy`, `after`: what
    is done when that is so many seconds ago; `outage`: whether it is done now. `warm`: wall clock seconds of the last contact before the
    warm file was written that some of what is held is from, 0 where nothing is; `reading`: that file is being read, or will be, as the API
    gives nothing. `kept`: wall clock seconds at which it was written last, 0 for never. `unused`: why credentials that are newer than those
    in use aren't used, "" where there are none. `held`: what the removal guard holds, sorted."""

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
    unused: str = ""
    warm: float = 0.0
    reading: bool = False
    kept: float = 0.0
    resources: tuple[ResourceStatus, ...] = ()
    held: tuple[HeldRemoval, ...] = ()

    @property
    def held_endpoints(self) -> int:
        return sum(held.count for held in self.held if held.is_of_service)


def is_followed(resources: Sequence[ResourceStatus]) -> bool:
    """Whether everything that was held once, of what every cluster has, is being followed."""
    return not any(is_lost(resource) for resource in resources if not resource.optional)


def is_lost(resource: ResourceStatus) -> bool:
    """Whether what was held of it is not followed now, or not yet again."""
    return is_held(resource) and resource.standing in _LOST


def is_held(resource: ResourceStatus) -> bool:
    """Whether all is held that there was of it at a time, in this process or before."""
    return resource.whole or resource.restored


def is_settled(resource: ResourceStatus) -> bool:
    """Whether all is told that can be expected of this resource for now."""
    return resource.whole or (resource.optional and resource.standing in (Standing.MISSING, Standing.FORBIDDEN))


def cluster_state(resources: Sequence[ResourceStatus], pulse: Pulse, problem: str) -> tuple[ClusterState, str]:
    """The state, and what is wrong in words; the worst comes first. `problem`: what the last heartbeat met.

    What a cluster need not have is judged by itself: that it can't be followed makes nobody's endpoints old.
    """
    needed = [resource for resource in resources if not resource.optional]
    for standing, failed, state in (
        (Standing.UNREACHABLE, Pulse.UNREACHABLE, ClusterState.UNREACHABLE),
        (Standing.UNAUTHORISED, Pulse.UNAUTHORISED, ClusterState.UNAUTHORISED),
    ):
        if pulse is failed or all(resource.standing is standing for resource in needed):
            return state, problem or needed[0].problem
    lost = [resource for resource in needed if resource.standing in _LOST]
    if any(is_held(resource) for resource in lost):
        return ClusterState.STALE, _words(lost)
    if lost or not all(is_settled(resource) or resource.standing is Standing.FORBIDDEN for resource in resources):
        return ClusterState.SYNCING, _words([resource for resource in lost if resource.problem])
    if pulse is Pulse.FAILING:
        return ClusterState.STALE, problem
    refused = [
        resource
        for resource in resources
        if resource.standing is Standing.FORBIDDEN or (resource.standing is Standing.MISSING and not resource.optional)
    ]
    return (ClusterState.FORBIDDEN, _words(refused)) if refused else (ClusterState.SYNCED, "")


def _words(resources: Sequence[ResourceStatus]) -> str:
    """What is wrong with which; those with the same trouble together."""
    by_problem: dict[str, list[str]] = {}
    for resource in resources:
        by_problem.setdefault(resource.problem or "it is being read again", []).append(resource.name)
    return "; ".join(f"{', '.join(names)}: {problem}" for problem, names in by_problem.items())
