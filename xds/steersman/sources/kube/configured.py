"""The clusters of the configuration that are read from their API, as sources."""

from steersman.model.ids import ClusterID
from steersman.settings import Settings
from steersman.sources.kube.credentials import access_to
from steersman.sources.kube.source import Claimed, KubeSource
from steersman.sources.kube.warmstore import WarmDirectory


def kube_sources(settings: Settings, claimed: Claimed, warm: WarmDirectory | None) -> dict[ClusterID, KubeSource]:
    """The source of each configured cluster that is read from its API. `claimed` is told of kubeconfigs in their Secrets; `warm`: see
    KubeSource."""
    return {
        cluster.config.name: KubeSource(
            cluster.config.name,
            access_to(cluster.kubernetes),
            outage=cluster.outage,
            removals=cluster.removal_guard,
            timeout=cluster.sync_timeout,
            secrets=settings.mesh.root_namespace if cluster.config.name in settings.remote_clusters.secrets else "",
            allow=settings.remote_clusters.allow,
            claimed=claimed,
            warm=warm.of(cluster.config.name) if warm is not None else None,
        )
        for cluster in settings.clusters
        if cluster.kubernetes is not None
    }
