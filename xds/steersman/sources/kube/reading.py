"""Clusters read once, for commands without a server: by the same source, until it has told all."""

import asyncio
import time
from collections.abc import Iterable, Sequence

from steersman.errors import SourceError
from steersman.model.clusters import ClusterState
from steersman.model.facts import Fact, Finding, FindingKey, Origin, Severity, Synced, Upsert
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.settings import Settings
from steersman.sources.kube.configured import kube_sources
from steersman.sources.kube.registered import RemoteCluster, registrations_of
from steersman.sources.kube.registrations import SOURCE, Claim, remembered
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.warmstore import warm_directory
from steersman.sources.report import finding_facts

_DEAD = 5.0
"""Seconds for which a cluster is waited for that can't be reached."""
_LOOK = 0.1


def read_clusters(settings: Settings) -> list[Fact]:
    """All facts of the clusters that are read from their API, as they are now, those that are registered at run time too. What is not told
    in a cluster's time is a finding. Not for use in an event loop."""
    return asyncio.run(_read_settings(settings))


async def _read_settings(settings: Settings) -> list[Fact]:
    registrations = registrations_of(settings)
    warm = warm_directory(settings.warm_start, keeps=False)
    told: set[ClusterID] = set()

    def claimed(holder: ClusterID, claims: Sequence[Claim]) -> None:
        told.add(holder)
        registrations.tell(holder, claims)

    facts = await _read_all(kube_sources(settings, claimed, warm).values())
    if warm is not None and (silent := [holder for holder in settings.remote_clusters.secrets if holder not in told]):
        registrations.tell("warm files", [remembered(one.cluster, one.holder, one.place) for one in warm.held_by(silent)])
    seen = time.time()
    facts += finding_facts({}, registrations.findings, lambda finding: Origin(source=SOURCE, place=finding.place, seen=seen))
    remotes = [RemoteCluster(registration, settings, warm) for registration in registrations.registrations.values()]
    facts += [remote.fact(seen) for remote in remotes]
    return facts + await _read_all(remote.source for remote in remotes)


async def _read_all(sources: Iterable[KubeSource]) -> list[Fact]:
    return [fact for facts in await asyncio.gather(*(_read(source) for source in sources)) for fact in facts]


async def _read(source: KubeSource) -> list[Fact]:
    facts: list[Fact] = []
    running = asyncio.create_task(source.run(facts.extend), name=f"kubernetes {source.cluster}")
    started = time.monotonic()
    while not running.done() and not _synced(facts):
        waited = time.monotonic() - started
        dead = source.status().state in (ClusterState.UNREACHABLE, ClusterState.UNAUTHORISED)
        if waited >= (min(_DEAD, source.timeout) if dead and not source.status().reading else source.timeout):
            break
        if source.status().warm and (dead or waited >= _DEAD):
            break
        await asyncio.wait({running}, timeout=_LOOK)
    running.cancel()
    await asyncio.wait({running})
    if not running.cancelled() and (error := running.exception()) is not None and not isinstance(error, SourceError):
        raise error
    if not _synced(facts):
        facts.append(_not_synced(source))
    return facts


def _synced(facts: Sequence[Fact]) -> bool:
    return bool(facts) and isinstance(facts[-1], Synced)


def _not_synced(source: KubeSource) -> Fact:
    status = source.status()
    told = sum(resource.objects for resource in status.resources)
    warm = f", {sum(resource.warm for resource in status.resources)} of them from its warm file" if status.warm else ""
    finding = Finding(
        id="source-not-synced",
        severity=Severity.WARNING,
        object=f"Cluster {source.cluster}",
        place=source.place,
        cause=f"not everything could be read of it ({told} objects were{warm}; it is {status.state})",
        remedy="see the cluster's other findings; where it is only slow, raise its syncTimeout (of clusters[], or remoteClusters)",
    )
    key = FindingKey.of(source.cluster, finding)
    return Upsert(kind=Kind.FINDING, key=key, value=finding, origin=Origin(source=source.cluster, place=source.place, seen=time.time()))
