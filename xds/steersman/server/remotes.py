"""Clusters that come and go while the server runs: each that is registered has a source, supervised like any other.

directory, Secrets of clusters --claims--> Registrations --one a cluster--> a KubeSource each --facts--> Sources
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from steersman.admin.state import SourceState
from steersman.model.config import ClusterConfig
from steersman.model.facts import Delete, Finding, FindingKey, Origin, Severity, Synced, Upsert
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.server.sources import Emit, Source, Sources
from steersman.settings import Settings
from steersman.sources.kube.kubeconfigs import claims_in
from steersman.sources.kube.registered import RemoteCluster, looked_into, registrations_of
from steersman.sources.kube.registrations import SOURCE, Claim, Registration, remembered
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.warmstore import WarmDirectory
from steersman.sources.report import finding_facts

log = logging.getLogger("steersman.kubernetes")

_SOON = 0.2
"""Seconds between looks at whether a cluster that holds Secrets answers."""
_LOOK = 1.0
"""Seconds between looks at the directory. One look is a listing, so that nothing is missed on whatever file system."""


class _Remote(RemoteCluster):
    """`task`: of its source, None before it runs."""

    def __init__(self, registration: Registration, settings: Settings, warm: WarmDirectory | None) -> None:
        super().__init__(registration, settings, warm)
        self.task: asyncio.Task[None] | None = None

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
            self.task = None


class RemoteClusters:
    """The source "remoteClusters": which clusters there are beside those of the configuration, and their sources. `warm`: see
    KubeSource. `known` is told of all clusters, those of the configuration too, whenever one has come or gone."""

    def __init__(
        self, settings: Settings, feeds: Sources, warm: WarmDirectory | None, known: Callable[[Sequence[ClusterConfig]], None]
    ) -> None:
        self._known = known
        self._settings = settings
        self._feeds = feeds
        self._warm = warm
        self._directory = settings.remote_clusters.kubeconfigs
        self._registrations = registrations_of(settings)
        self._remotes: dict[ClusterID, _Remote] = {}
        self._findings: dict[FindingKey, Finding] = {}
        self._changed = asyncio.Event()
        self._told: set[ClusterID] = set()
        self._silent: set[ClusterID] = set()
        self._remembered: list[Claim] | None = None
        """Clusters whose Secrets were known when their warm files were written; None before that has been looked up."""

    @property
    def place(self) -> str:
        of = [str(self._directory)] if self._directory is not None else []
        return ", ".join([*of, *(f"Secrets of {name}" for name in self._settings.remote_clusters.secrets)])

    @property
    def timeout(self) -> float | None:
        """Seconds that it is waited for: as long as it may take until the Secrets are known, or those that were."""
        remote = self._settings.remote_clusters
        return remote.sync_timeout if remote.secrets and self._warm is not None else None

    @property
    def sources(self) -> list[KubeSource]:
        """Of the clusters that there are now."""
        return [remote.source for remote in self._remotes.values()]

    def source(self, cluster: ClusterID) -> KubeSource | None:
        """Of a cluster that is registered."""
        remote = self._remotes.get(cluster)
        return remote.source if remote is not None else None

    def begin(self) -> None:
        """What the directory holds at the start is waited for like other clusters."""
        self._register()

    def claimed(self, holder: ClusterID, claims: Iterable[Claim]) -> None:
        """All that the Secrets of this cluster claim now."""
        self._told.add(holder)
        self._registrations.tell(holder, claims)
        self._register()

    def _register(self) -> None:
        """What is new is a source from now on: it is waited for, if the server isn't ready yet. The rest needs the task."""
        for cluster, registration in self._registrations.registrations.items():
            if cluster not in self._remotes:
                remote = self._remotes[cluster] = _Remote(registration, self._settings, self._warm)
                source = remote.source
                self._feeds.add(
                    Source(cluster, "kubernetes", source.place, source.timeout, cluster=source.status, registered=registration.place)
                )
                self._know()
        self._changed.set()

    def _know(self) -> None:
        configured = [one.config for one in self._settings.clusters]
        self._known([*configured, *(remote.config for remote in self._remotes.values())])

    # -- the task -------------------------------------------------------------------------------------------------------------

    async def run(self, emit: Emit) -> None:
        """Runs the sources of all registered clusters for ever."""
        self._findings = {}
        for remote in self._remotes.values():
            if remote.task is not None:  # of an earlier run, which ended with it
                remote.task = None
                self._feeds.afresh(remote.cluster)
        synced = False
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                undecided = await self._remember()
                await self._follow(tasks, emit)
                if not synced and not undecided:
                    synced = True
                    emit([Synced(source=SOURCE)])
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SOON if undecided else _LOOK if self._directory is not None else None):
                        await self._changed.wait()
                if self._directory is not None:
                    looked_into(self._directory, await asyncio.to_thread(claims_in, self._directory), self._registrations)
                    self._register()

    async def _remember(self) -> bool:
        """Registers the clusters whose Secrets can't be read now, by what their warm files say of them, until they can. Whether it is
        still to be seen if they can."""
        holders = self._settings.remote_clusters.secrets
        if self._warm is None or not holders:
            return False
        if self._remembered is None:
            headers = await asyncio.to_thread(self._warm.held_by, holders)
            self._remembered = [remembered(one.cluster, one.holder, one.place) for one in headers]
        if not self._remembered:
            return False
        silent = {name for name in holders if name not in self._told and self._feeds.is_given_up(name)}
        if silent != self._silent:
            self._silent = silent
            self._registrations.tell("warm files", [claim for claim in self._remembered if claim.holder in silent])
            self._register()
        waiting = set(holders) - self._told - silent
        return any(claim.holder in waiting for claim in self._remembered)

    async def _follow(self, tasks: asyncio.TaskGroup, emit: Emit) -> None:
        """Ends the sources of clusters that are gone, begins those that are new, and hands others what was registered anew."""
        registrations = self._registrations.registrations
        for remote in [one for cluster, one in self._remotes.items() if cluster not in registrations]:
            await self._end(remote, emit)
        for cluster, registration in registrations.items():
            if cluster not in self._remotes:
                continue  # it came back while it was being taken away, and is registered now
            remote = self._remotes[cluster]
            if registration != remote.access.registration:
                log.info("cluster %s: other credentials are registered by %s", cluster, registration.place)
                remote.replace(registration)
                self._feeds.moved(cluster, registration.place)
                emit([remote.fact(time.time())])
                remote.source.hurry()
                if self._feeds.state(cluster) is SourceState.FAILED:
                    await remote.end()  # not to wait until it is tried again by itself
            if remote.task is None:
                log.info("cluster %s: registered by %s", cluster, registration.place)
                emit([remote.fact(time.time())])
                supervised = self._feeds.supervise([cluster], remote.source.run)
                remote.task = tasks.create_task(supervised, name=f"source-{cluster}")
        self._tell(emit)

    async def _end(self, remote: _Remote, emit: Emit) -> None:
        log.info("cluster %s: no longer registered by %s; all that it told is gone", remote.cluster, remote.source.place)
        await remote.end()
        del self._remotes[remote.cluster]
        self._know()
        await remote.source.forget()
        await self._feeds.remove(remote.cluster)
        emit([Delete(kind=Kind.CLUSTER, key=remote.cluster)])
        self._register()

    def _tell(self, emit: Emit) -> None:
        before, self._findings = self._findings, dict(self._registrations.findings)
        facts = finding_facts(before, self._findings, lambda finding: self._origin(finding.place))
        for fact in facts:
            if isinstance(fact, Upsert):
                finding = fact.value
                level = logging.INFO if finding.severity is Severity.INFO else logging.WARNING
                log.log(level, "%s (%s): %s; %s", finding.object, finding.place, finding.cause, finding.remedy)
        if facts:
            emit(facts)

    def _origin(self, place: str) -> Origin:
        return Origin(source=SOURCE, place=place, seen=time.time())
