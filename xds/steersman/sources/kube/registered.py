"""A cluster that is registered at run time, as a source and as facts: the same in a server and in commands without one."""

from collections.abc import Sequence
from pathlib import Path

from steersman.model.config import ClusterConfig
from steersman.model.facts import Origin, Upsert
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.settings import Settings
from steersman.sources.kube.credentials import RegisteredAccess
from steersman.sources.kube.kubeconfigs import claims_in, missing
from steersman.sources.kube.registrations import SOURCE, Claim, Registration, Registrations
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.warmstore import WarmDirectory


class RemoteCluster:
    """`access`: by what is registered of it. `warm`: see KubeSource."""

    def __init__(self, registration: Registration, settings: Settings, warm: WarmDirectory | None) -> None:
        remote = settings.remote_clusters
        self.cluster: ClusterID = registration.cluster
        self.config = ClusterConfig(name=self.cluster, slices_only=True)
        self.access = RegisteredAccess(registration)
        self._store = warm.of(self.cluster) if warm is not None else None
        self._remember()
        self.source = KubeSource(
            self.cluster,
            self.access,
            outage=remote.outage,
            removals=remote.removal_guard,
            timeout=remote.sync_timeout,
            warm=self._store,
        )

    def replace(self, registration: Registration) -> None:
        """It is registered anew."""
        self.access.replace(registration)
        self._remember()

    def _remember(self) -> None:
        """Its warm file says in whose Secret its kubeconfig is, so that it isn't forgotten while that can't be read."""
        if self._store is not None:
            registration = self.access.registration
            self._store.holder, self._store.place = registration.holder, registration.place if registration.holder else ""

    def fact(self, seen: float) -> Upsert:
        """That there is such a cluster. Its network is what its namespaces and mesh.networks say. `seen`: wall clock seconds."""
        origin = Origin(source=SOURCE, place=self.access.place, seen=seen)
        return Upsert(kind=Kind.CLUSTER, key=self.cluster, value=self.config, origin=origin)


def registrations_of(settings: Settings) -> Registrations:
    """Of what the directory holds now, if there is one; of Secrets it is yet to be told."""
    registrations = Registrations([one.config.name for one in settings.clusters])
    if (directory := settings.remote_clusters.kubeconfigs) is not None:
        looked_into(directory, claims_in(directory), registrations)
    return registrations


def looked_into(directory: Path, claims: Sequence[Claim] | None, registrations: Registrations) -> None:
    """Tells of what the directory holds now; None where it can't be read."""
    registrations.tell("", claims, () if claims is not None else (missing(directory),))
