"""One cluster's API, followed: a task for each resource, one for the heartbeat, and one that says how the cluster stands.

    followers (one a resource) --facts--.
    heartbeat --------------------------+--> emit
    how it stands ----------------------'

Everything that decides is in `reflector`, `mirror` and `state`; here it is brought together.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from random import random as chance

from steersman.errors import SourceError
from steersman.model.clusters import OUTAGES, ClusterHealth, ClusterState, OutagePolicy
from steersman.model.facts import Delete, Fact, Finding, FindingKey, Origin, Synced, Upsert
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.settings import OutageSettings, Settings
from steersman.sources.kube.api import Api
from steersman.sources.kube.credentials import Access, access_to
from steersman.sources.kube.findings import cluster_findings
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.heartbeat import Heartbeat
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.registrations import Claim
from steersman.sources.kube.resources import RESOURCES, Resource, remote_secrets
from steersman.sources.kube.secrets import Secrets
from steersman.sources.kube.state import ClusterStatus, Pulse, ResourceStatus, cluster_state, is_followed, is_settled
from steersman.sources.kube.timing import Timing
from steersman.sources.pace import Pace

log = logging.getLogger("steersman.kubernetes")

Emit = Callable[[Sequence[Fact]], None]
Claimed = Callable[[ClusterID, Sequence[Claim]], None]
"""Is told of a cluster, and all that its Secrets claim now."""

_REWORDING = 5.0
"""Seconds between two descriptions of one state: each is a fact, and while a cluster fails every try may fail in another way."""
_HOLD_BACK = 0.9
"""The part of the cluster's time-out for which first facts are held back at most."""


class KubeSource:
    """A cluster read from its API. `timeout`: seconds that it is waited for. `secrets`: the namespace in which it holds kubeconfigs of
    other clusters, "" for none; `claimed` is told of all of them whenever they have changed, the first time before Synced."""

    def __init__(
        self,
        cluster: ClusterID,
        access: Access,
        *,
        outage: OutageSettings | None = None,
        timeout: float = 30.0,
        timing: Timing | None = None,
        random: Callable[[], float] = chance,
        clock: Callable[[], float] = time.time,
        secrets: str = "",
        claimed: Claimed = lambda cluster, claims: None,
    ) -> None:
        self.cluster = cluster
        self._namespace = secrets
        self._claimed = claimed
        self.timeout = timeout
        self._access = access
        self._outage = outage or OutageSettings()
        self._timing = timing or Timing()
        self._random = random
        self._clock = clock
        self._pace = Pace()
        self._contact = 0.0
        self._state = ClusterState.SYNCING
        self._since = clock()
        self._problem = ""
        self._worded = 0.0
        self._turned_at = math.inf
        self._server = ""
        self._afresh(lambda facts: None)

    def _afresh(self, emit: Emit) -> None:
        self._emit = emit
        self._api: Api | None = None
        self._heartbeat = Heartbeat(
            self._timing, self._random, told=self._tell, returned=self._returned, replaced=self._replaced, renewed=self._renewed
        )
        self._secrets = Secrets(self.cluster) if self._namespace else None
        followed: list[tuple[Resource, Mirror | Secrets]] = [(resource, Mirror(self.cluster, resource)) for resource in RESOURCES]
        if self._secrets is not None:
            followed.append((remote_secrets(self._namespace), self._secrets))
        self._followers = tuple(
            Follower(
                resource,
                mirror,
                timing=self._timing,
                random=self._random,
                clock=self._clock,
                pace=self._pace,
                told=self._told,
            )
            for resource, mirror in followed
        )
        self._standings: tuple[Standing, ...] = ()
        self._telling = False
        self._synced = False
        self._health: ClusterHealth | None = None
        self._findings: dict[FindingKey, Finding] = {}

    @property
    def place(self) -> str:
        """Where its credentials come from."""
        return self._access.place

    def hurry(self) -> None:
        """There may be new credentials."""
        self._heartbeat.hurry()

    async def run(self, emit: Emit) -> None:
        """Emits facts for ever. Each run starts from nothing. Raises SourceError where the credentials can't be read at first."""
        self._afresh(emit)
        self._started = asyncio.get_running_loop().time()
        try:
            async with Api(self._access, self._timing) as api:
                self._api, self._server = api, api.server
                async with asyncio.TaskGroup() as tasks:
                    for follower in self._followers:
                        tasks.create_task(follower.run(api), name=f"kubernetes {self.cluster} {follower.resource.name}")
                    tasks.create_task(self._heartbeat.run(api), name=f"kubernetes {self.cluster} heartbeat")
                    while True:
                        self._server = api.server
                        self._tell()
                        await asyncio.sleep(self._timing.tick)
        except SourceError as error:
            self._stand(ClusterState.UNAUTHORISED, str(error))
            emit([*self._health_facts(), *self._finding_facts()])
            raise

    # -- what the tasks tell --------------------------------------------------------------------------------------------------

    def _told(self, follower: Follower) -> None:
        """Something may have changed of this resource."""
        self._claim()
        if self._synced and tuple(one.reflector.standing for one in self._followers) == self._standings:
            if facts := follower.mirror.facts():
                self._emit(facts)
        else:
            self._tell()

    def _claim(self) -> None:
        if self._secrets is not None and (claims := self._secrets.claims()) is not None:
            self._claimed(self.cluster, claims)

    def _returned(self, since: float) -> None:
        """The API answers again: nobody need wait any longer, and watches of which nothing came meanwhile may be dead."""
        for follower in self._followers:
            if follower.heard <= since:
                follower.interrupt()
            follower.wake()

    def _replaced(self, before: str) -> None:
        log.warning(
            "cluster %s: %s is another cluster than before (the uid of kube-system was %s and is %s); everything is read again",
            *(self.cluster, self._server, before, self._heartbeat.uid),
        )
        for follower in self._followers:
            follower.resync()

    def _renewed(self) -> None:
        """Other credentials are used: whoever waits may try them, and nobody goes on under those of before. Watches are resumed where they
        are; of another server that does not say whose it is, everything is asked for again."""
        assert self._api is not None
        elsewhere = self._server != self._api.server and not self._heartbeat.uid
        self._server = self._api.server
        for follower in self._followers:
            if elsewhere:
                follower.resync()
            else:
                follower.interrupt()
                follower.wake()

    # -- telling --------------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Emits what is new: objects, how the cluster stands, what should be mended, and that all is told."""
        self._claim()
        resources = tuple(follower.status() for follower in self._followers)
        self._standings = tuple(resource.standing for resource in resources)
        self._telling = self._telling or self._may_tell(resources)
        facts: list[Fact] = []
        if self._telling:
            for follower in self._followers:
                facts += follower.mirror.facts()
        self._notice(resources)
        facts += self._health_facts()
        facts += self._finding_facts()
        whose = self._heartbeat.pulse is not Pulse.NONE  # that two clusters are one is known only then
        if self._telling and not self._synced and whose and all(is_settled(resource) for resource in resources):
            self._synced = True
            facts.append(Synced(source=self.cluster))
        if facts:
            self._emit(facts)

    def _may_tell(self, resources: tuple[ResourceStatus, ...]) -> bool:
        """First facts come together: a Service without its slices, because they are slower, is no Service without endpoints."""
        if all(is_settled(resource) for resource in resources):
            return True
        waited = asyncio.get_running_loop().time() - self._started
        if waited >= _HOLD_BACK * self.timeout:
            return True
        return waited >= self._timing.patience and all(
            resource.whole or resource.standing is not Standing.SYNCING for resource in resources
        )

    def _notice(self, resources: tuple[ResourceStatus, ...]) -> None:
        """How the cluster stands now, and when all was well last."""
        pulse = self._heartbeat.pulse
        state, problem = cluster_state(resources, pulse, self._heartbeat.problem)
        if pulse in (Pulse.NONE, Pulse.ALIVE) and is_followed(resources):
            heard = max(self._heartbeat.heard, *(follower.heard for follower in self._followers))
            age = asyncio.get_running_loop().time() - heard
            self._contact = max(self._contact, self._clock() - age)
        # Streams break and heal now and then, and one that was resumed may be refused in a moment: neither way is believed at once.
        now = asyncio.get_running_loop().time()
        if (state in OUTAGES) is (self._state in OUTAGES) or self._state is ClusterState.SYNCING:
            self._turned_at = math.inf
        else:
            self._turned_at = min(self._turned_at, now)
            if now - self._turned_at < self._timing.grace:
                return
        self._stand(state, problem)

    def _stand(self, state: ClusterState, problem: str) -> None:
        if state is not self._state:
            level = logging.INFO if state in (ClusterState.SYNCED, ClusterState.SYNCING) else logging.WARNING
            log.log(level, "cluster %s (%s) is %s%s", self.cluster, self._server or self.place, state, f": {problem}" if problem else "")
            self._since = self._contact if state in OUTAGES and self._contact else self._clock()
            self._problem = problem
            self._worded = self._clock()
        if problem != self._problem and self._clock() - self._worded >= _REWORDING:
            self._problem, self._worded = problem, self._clock()
        self._state = state

    def _policy(self) -> OutagePolicy:
        """What holds for the cluster's endpoints now. While all is well again, that this isn't believed yet is no silence."""
        silent = self._clock() - self._contact
        well_again = self._turned_at != math.inf
        out = self._state in OUTAGES and not well_again and self._contact > 0 and silent >= self._outage.after
        return self._outage.policy if out else OutagePolicy.KEEP

    def _health_facts(self) -> list[Fact]:
        health = ClusterHealth(
            cluster=self.cluster,
            state=self._state,
            since=self._since,
            problem=self._problem,
            uid=self._heartbeat.uid,
            outage=self._policy(),
        )
        if health == self._health:
            return []
        if self._health is not None and health.outage is not self._health.outage:
            log.warning("cluster %s: outage policy is now %s", self.cluster, health.outage)
        self._health = health
        origin = Origin(source=self.cluster, place=self.place, seen=self._clock())
        return [Upsert(kind=Kind.CLUSTER_STATE, key=self.cluster, value=health, origin=origin)]

    def _finding_facts(self) -> list[Fact]:
        now = {FindingKey(self.cluster, one.place, one.id, one.object): one for one in cluster_findings(self.status(), self.place)}
        facts: list[Fact] = [Delete(kind=Kind.FINDING, key=key) for key in self._findings if key not in now]
        for key, finding in now.items():
            if self._findings.get(key) != finding:
                origin = Origin(source=self.cluster, place=self.place, seen=self._clock())
                facts.append(Upsert(kind=Kind.FINDING, key=key, value=finding, origin=origin))
        self._findings = now
        return facts

    # -- how it stands --------------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        return ClusterStatus(
            cluster=self.cluster,
            server=self._server,
            state=self._state,
            since=self._since,
            contact=self._contact,
            uid=self._heartbeat.uid,
            problem=self._problem,
            policy=self._outage.policy,
            after=self._outage.after,
            outage=self._policy() is not OutagePolicy.KEEP,
            unused=self._api.unused if self._api is not None else "",
            resources=tuple(follower.status() for follower in self._followers),
        )


def kube_sources(settings: Settings, claimed: Claimed) -> dict[ClusterID, KubeSource]:
    """The source of each configured cluster that is read from its API. `claimed` is told of kubeconfigs in their Secrets."""
    return {
        cluster.config.name: KubeSource(
            cluster.config.name,
            access_to(cluster.kubernetes),
            outage=cluster.outage,
            timeout=cluster.sync_timeout,
            secrets=settings.mesh.root_namespace if cluster.config.name in settings.remote_clusters.secrets else "",
            claimed=claimed,
        )
        for cluster in settings.clusters
        if cluster.kubernetes is not None
    }
