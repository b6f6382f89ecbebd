"""What becomes of the endpoints of a cluster whose API is silent."""

from steersman.graph import Reader
from steersman.model.clusters import OUTAGES, OutagePolicy
from steersman.model.ids import ClusterID
from steersman.registry.collections import ALL_CLUSTERS, CLUSTER_STATES


def outage_of(read: Reader, cluster: ClusterID) -> OutagePolicy:
    """What holds for a cluster's endpoints: KEEP, but for an outage for which the cluster's policy says otherwise.

    Where no other cluster is well, the fault is as likely ours, and what was known last is better than nothing: KEEP.
    """
    health = read(CLUSTER_STATES, cluster)
    if health is None or health.outage is OutagePolicy.KEEP:
        return OutagePolicy.KEEP
    well = any(_is_well(read, other) for other in read(ALL_CLUSTERS, "") if other != cluster)
    return health.outage if well else OutagePolicy.KEEP


def _is_well(read: Reader, cluster: ClusterID) -> bool:
    """A cluster of files has no API that could be silent."""
    health = read(CLUSTER_STATES, cluster)
    return health is None or health.state not in OUTAGES
