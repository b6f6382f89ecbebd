"""How a cluster stands that is read from its API: a fact of its source, by which the mesh knows what to make of the cluster's endpoints."""

from datetime import UTC, datetime
from enum import StrEnum

from steersman.model.ids import ClusterID
from steersman.model.objects import Row


class ClusterState(StrEnum):
    """SYNCED: what is held is what the cluster has. FORBIDDEN: so it is, but for resources that may not be read, or that aren't served.
    STALE: some of what is held is no longer followed. UNAUTHORISED: the API takes our credentials for nobody's. UNREACHABLE: it gives no
    answer. In the last three what was told last stands."""

    SYNCING = "syncing"
    SYNCED = "synced"
    FORBIDDEN = "forbidden"
    STALE = "stale"
    UNAUTHORISED = "unauthorised"
    UNREACHABLE = "unreachable"


OUTAGES = (ClusterState.STALE, ClusterState.UNAUTHORISED, ClusterState.UNREACHABLE)
"""States in which what is held grows old."""


class OutagePolicy(StrEnum):
    """What becomes of the endpoints of a cluster whose API is silent: they stay as they are, go behind those of other clusters, or are
    left out."""

    KEEP = "keep"
    DEMOTE = "demote"
    DROP = "drop"


class ClusterHealth(Row, frozen=True, kw_only=True):
    """How a cluster stands (kind CLUSTER_STATE, key: its name). `since`: wall clock seconds; of an outage, the last time at which all was
    well. `problem`: in words, "" where there is none. `uid`: of the namespace kube-system, by which two names of one cluster are told;
    "" before it is known. `outage`: what holds for its endpoints now, KEEP while nothing does. `warm`: some of what it holds is from
    its warm file, of these wall clock seconds; 0 where nothing is."""

    cluster: ClusterID
    state: ClusterState
    since: float
    problem: str = ""
    uid: str = ""
    outage: OutagePolicy = OutagePolicy.KEEP
    warm: float = 0.0


def moment(seconds: float) -> str:
    """Wall clock seconds as RFC 3339 writes them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
