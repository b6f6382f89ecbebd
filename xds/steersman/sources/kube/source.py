"""One cluster's API, followed: a task for each resource, one for the heartbeat, and one that says how the cluster stands.

    followers (one a resource) --facts--.
    heartbeat --------------------------+--> emit
    how it stands ----------------------'
    warm file <--> followers

Everything that decides is in `reflector`, `mirror`, `telling` and `state`; here it is brought together.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from random import random as chance

from steersman.errors import SourceError
from steersman.model.clusters import OUTAGES, ClusterHealth, ClusterState, OutagePolicy
from steersman.model.facts import Fact, Finding, FindingKey, Origin, Synced, Upsert
from steersman.model.ids import ClusterID, ObjectKey, ServiceKey
from steersman.model.objects import Kind, Pod
from steersman.model.removals import HeldRemoval
from steersman.settings import NOTHING, Allowed, OutageSettings, RemovalGuardSettings
from steersman.sources.kube.api import Api
from steersman.sources.kube.credentials import Access
from steersman.sources.kube.findings import cluster_findings, warm_finding
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.heartbeat import Heartbeat
from steersman.sources.kube.left import Left
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.notes import log_removals
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.registrations import Claim
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.resources import RESOURCES, Resource, remote_secrets
from steersman.sources.kube.secrets import Secrets
from steersman.sources.kube.state import ClusterStatus, Pulse, ResourceStatus, cluster_state, is_followed, is_settled
from steersman.sources.kube.telling import Due, FirstTelling
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.warmstart import WarmStart
from steersman.sources.kube.warmstore import WarmStore
from steersman.sources.pace import Leisure, Pace
from steersman.sources.report import finding_facts

log = logging.getLogger("steersman.kubernetes")

Emit = Callable[[Sequence[Fact]], None]
Claimed = Callable[[ClusterID, Sequence[Claim]], None]
"""Is told of a cluster, and all that its Secrets claim now."""

_REWORDING = 5.0
"""Seconds between two descriptions of one state: each is a fact, and while a cluster fails every try may fail in another way."""
_IN_VAIN = 5
"""Runs in a row that take over what stood and don't come to its being whole: it may be what they fail by."""


class KubeSource:
    """A cluster read from its API. `timeout`: seconds that it is waited for. `warm`: where what it told last is kept over a restart; None:
    nowhere. `secrets`: the namespace in which it holds kubeconfigs of other clusters, "" for none; `allow`: what those may use; `claimed`
    is told of all of them whenever they have changed, the first time before Synced."""

    def __init__(
        self,
        cluster: ClusterID,
        access: Access,
        *,
        outage: OutageSettings | None = None,
        removals: RemovalGuardSettings | None = None,
        timeout: float = 30.0,
        warm: WarmStore | None = None,
        timing: Timing | None = None,
        random: Callable[[], float] = chance,
        clock: Callable[[], float] = time.time,
        secrets: str = "",
        allow: Allowed = NOTHING,
        claimed: Claimed = lambda cluster, claims: None,
    ) -> None:
        self.cluster = cluster
        self._namespace = secrets
        self._allow = allow
        self._claimed = claimed
        self.timeout = timeout
        self._access = access
        self._outage = outage or OutageSettings()
        self._removals = removals or RemovalGuardSettings()
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
        self._warm = WarmStart(cluster, warm, self._timing, clock, self._pace) if warm is not None else None
        self._told_any = False
        self._uid = ""
        self._left: Left | None = None
        self._in_vain = 0
        self._afresh(lambda facts: None, {})

    def _afresh(self, emit: Emit, restored: Mapping[Resource, Mirror]) -> None:
        """`restored`: mirrors that hold what a warm file has, while nothing else was told."""
        self._emit = emit
        self._guard = RemovalGuard(self.cluster, self._removals, self._pod, grace=self._timing.removal_grace, place=lambda: self.place)
        self._api: Api | None = None
        self._heartbeat = Heartbeat(
            self._timing, self._random, told=self._tell, returned=self._returned, replaced=self._replaced, renewed=self._renewed
        )
        self._secrets = Secrets(self.cluster, self._allow) if self._namespace else None
        self._mirrors = tuple(restored.get(resource) or Mirror(self.cluster, resource) for resource in RESOURCES)
        followed: list[tuple[Resource, Mirror | Secrets]] = [(mirror.resource, mirror) for mirror in self._mirrors]
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
                guard=self._guard,
                told=self._told,
            )
            for resource, mirror in followed
        )
        self._standings: list[Standing] = []
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
        """Emits facts for ever. What a run before told stands until the API has told it again; the first has what a warm file has. Raises
        SourceError where the credentials can't be read at first."""
        if self._told_any and self._left is None:
            self._left = Left(self._mirrors, self._guard, self._heartbeat.uid)
        restored = {mirror.resource: mirror for mirror in self._mirrors if mirror.warm and not self._told_any}
        self._afresh(emit, restored)
        now = asyncio.get_running_loop().time()
        self._first = FirstTelling(self._timing, self.timeout, now)
        if restored:
            self._heartbeat.uid = self._uid
            self._first.stand_in(now)
        waiting = asyncio.create_task(self._wait_for_credentials(), name=f"kubernetes {self.cluster} credentials")
        try:
            async with Api(self._access, self._timing) as api:
                self._api, self._server = api, api.server
                await self._have_credentials(waiting)
                await self._go_on()
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    for follower in self._followers:
                        tasks.create_task(follower.run(api), name=f"kubernetes {self.cluster} {follower.resource.name}")
                    tasks.create_task(self._heartbeat.run(api), name=f"kubernetes {self.cluster} heartbeat")
                    tasks.create_task(self._keep_up(), name=f"kubernetes {self.cluster} warm file")
                    while True:
                        self._server = api.server
                        await self._pace.run(self._guard.expire(self._clock()))
                        self._tell()
                        await asyncio.sleep(self._timing.tick)
        except SourceError as error:
            self._stand(ClusterState.UNAUTHORISED, str(error))
            await self._have_credentials(waiting)
            if self._warm is not None and self._may_restore():
                await self._restore(self._warm, lambda: True)
            if facts := [*self._health_facts(), *self._finding_facts()]:
                emit(facts)
            raise
        finally:
            waiting.cancel()

    async def _go_on(self) -> None:
        """Tells what stood when a run before failed, unless runs fail that have it."""
        left = self._left
        if left is not None and self._in_vain < _IN_VAIN:
            self._in_vain += 1
            await self._pace.run(left.handed_on(self._mirrors, self._guard, self._clock()))
            for follower in self._followers:
                follower.remember()
            self._heartbeat.uid = left.uid
            self._telling = True
            self._tell()
        self._left = None

    # -- what the tasks tell --------------------------------------------------------------------------------------------------

    def _told(self, follower: Follower) -> None:
        """Something may have changed of this resource."""
        self._claim()
        if self._synced and [one.reflector.standing for one in self._followers] == self._standings:
            if facts := self._object_facts():
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
        self._guard.replaced()
        for mirror in self._mirrors:
            mirror.forget_warm()
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

    # -- the warm file --------------------------------------------------------------------------------------------------------

    async def _restore(self, warm: WarmStart, wanted: Callable[[], bool]) -> None:
        """Fills in what is not known with what the warm file has of it. An API that gives nothing may tell all of it together again,
        when it is back."""
        header = await warm.restore(self._followers, self._heartbeat.uid, wanted)
        if header is None:
            return
        if any(mirror.warm for mirror in self._mirrors if not mirror.resource.optional):
            self._contact = warm.as_of
            if self._state in OUTAGES:
                self._since = self._contact
            else:
                self._notice(self._resources())
        self._uid = self._heartbeat.uid = self._heartbeat.uid or header.uid
        if self._is_out() or self._heard() == -math.inf:
            self._first.stand_in(asyncio.get_running_loop().time())
            self._emit([*self._object_facts(), *self._health_facts(), *self._finding_facts()])

    async def _wait_for_credentials(self) -> None:
        """A plugin that makes credentials may hang, as where it needs a network that is away: the warm file need not wait for it."""
        await asyncio.sleep(self._timing.warm)
        if self._warm is not None and self._may_restore():
            await self._restore(self._warm, lambda: True)

    async def _have_credentials(self, waiting: "asyncio.Task[None]") -> None:
        """They are there, or won't be. What began in place of them is ended first."""
        if self._warm is None or not self._warm.reading:
            waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            waiting.result()

    async def _restore_and_tell(self, warm: WarmStart) -> None:
        await self._restore(warm, lambda: self._due() is not Due.NOTHING)
        self._tell()

    async def _keep_up(self) -> None:
        """Keeps the warm file up to date, for ever."""
        warm = self._warm
        while warm is not None and warm.store.keeps:
            await asyncio.sleep(self._timing.tick)
            if self._has_more() and warm.is_due(self._followers, self._contact, out=self._state in OUTAGES):
                await warm.keep(self._followers, self._heartbeat.uid, self._contact, self._state, leisure=Leisure())

    async def keep(self) -> None:
        """Writes the warm file, where it lacks anything, as fast as can be: for whoever is about to end the source."""
        warm = self._warm
        if warm is not None and warm.store.keeps and self._has_more() and warm.is_behind(self._followers, self._contact):
            await warm.keep(self._followers, self._heartbeat.uid, self._contact, self._state)

    async def forget(self) -> None:
        """There is no such cluster any more: its warm file goes."""
        if self._warm is not None:
            await self._warm.store.remove()

    def _has_more(self) -> bool:
        """Whether the API told anything that is worth keeping. What lacks a part of what is served isn't."""
        told = self._telling and self._contact > 0 and any(mirror.whole for mirror in self._mirrors)
        return told and not self._guard.is_holding

    # -- telling --------------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Emits what is new: objects, how the cluster stands, what should be mended, and that all is told."""
        self._claim()
        resources = self._resources()
        self._standings = [resource.standing for resource in resources]
        well = self._heartbeat.pulse in (Pulse.NONE, Pulse.ALIVE) and is_followed(resources)
        self._guard.look(self._clock(), well=well)
        self._notice(resources)
        if not self._telling:
            self._open()
        facts = self._object_facts() if self._telling else []
        facts += self._health_facts()
        facts += self._finding_facts()
        whose = self._heartbeat.pulse is not Pulse.NONE  # that two clusters are one is known only then
        if self._telling and not self._synced and whose and all(is_settled(resource) for resource in resources):
            self._synced = True
            self._in_vain = 0
            for mirror in self._mirrors:  # of a run before, perhaps: what is not told until then is gone
                mirror.tell_warm(self._clock())
            facts += [*self._object_facts(), Synced(source=self.cluster)]
        if facts:
            self._emit(facts)

    def _open(self) -> None:
        """Sees whether first facts are to be told now; before that the warm file is asked for what there is not."""
        due = self._due()
        if due is Due.NOTHING:
            return
        if self._may_restore() and not all(mirror.whole for mirror in self._mirrors):
            assert self._warm is not None
            if not self._warm.reading:
                self._warm.reading = True
                self._tasks.create_task(self._restore_and_tell(self._warm), name=f"kubernetes {self.cluster} restoring")
        elif due is Due.FACTS:
            self._telling = self._told_any = True

    def _due(self) -> Due:
        now = asyncio.get_running_loop().time()
        return self._first.due(now, self._resources(), self._heard(), out=self._is_out(), warm=self._may_restore())

    def _may_restore(self) -> bool:
        return self._warm is not None and self._warm.may_restore and not self._told_any

    def _is_out(self) -> bool:
        return self._state in (ClusterState.UNREACHABLE, ClusterState.UNAUTHORISED)

    def _heard(self) -> float:
        """The loop's time at which anything good came of the API last."""
        return max(self._heartbeat.heard, *(follower.heard for follower in self._followers))

    def _resources(self) -> tuple[ResourceStatus, ...]:
        return tuple(follower.status() for follower in self._followers)

    def _object_facts(self) -> list[Fact]:
        now = self._clock()
        for mirror in self._mirrors:
            if facts := mirror.facts():  # what no task has taken in, but the warm file's
                self._guard.take(mirror.kind, facts, now, mirror.gone)
            if mirror.restored:
                self._guard.restored(mirror.kind)
        told = self._guard.facts(now)
        log_removals(self.cluster, self._guard.told)
        return told

    def _notice(self, resources: tuple[ResourceStatus, ...]) -> None:
        """How the cluster stands now, and when all was well last."""
        pulse = self._heartbeat.pulse
        state, problem = cluster_state(resources, pulse, self._heartbeat.problem)
        if pulse in (Pulse.NONE, Pulse.ALIVE) and is_followed(resources):
            age = asyncio.get_running_loop().time() - self._heard()
            self._contact = max(self._contact, self._clock() - age)
            if self._warm is not None:
                self._warm.note(self._followers, self._contact)
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
            warm=self._warm_as_of(),
        )
        if health == self._health:
            return []
        if self._health is not None and health.outage is not self._health.outage:
            log.warning("cluster %s: outage policy is now %s", self.cluster, health.outage)
        self._health = health
        origin = Origin(source=self.cluster, place=self.place, seen=self._clock())
        return [Upsert(kind=Kind.CLUSTER_STATE, key=self.cluster, value=health, origin=origin)]

    def _finding_facts(self) -> Sequence[Fact]:
        found = [*cluster_findings(self.status(), self.place)]
        if self._warm is not None and (complaint := self._warm.store.complaint) is not None:
            found.append(warm_finding(self.cluster, complaint, str(self._warm.store.path)))
        before, self._findings = self._findings, {FindingKey.of(self.cluster, one): one for one in found}
        return finding_facts(before, self._findings, lambda finding: Origin(source=self.cluster, place=self.place, seen=self._clock()))

    # -- how it stands --------------------------------------------------------------------------------------------------------

    def _pod(self, key: ObjectKey) -> Pod | None:
        """As the API has it."""
        pods = next(mirror for mirror in self._mirrors if mirror.kind is Kind.POD)
        pod: Pod | None = pods.value(key)
        return pod

    async def release(self, service: ServiceKey | None) -> tuple[HeldRemoval, ...]:
        """Lets go of what the removal guard holds of this Service, or of everything, at once; what that was."""
        held = self._guard.held
        key = ObjectKey(self.cluster, *service) if service is not None else None
        await self._pace.run(self._guard.release(key, self._clock()))
        self._tell()
        left = {one.object for one in self._guard.held}
        return tuple(one for one in held if one.object not in left)

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
            warm=self._warm_as_of(),
            reading=self._warm is not None and (self._warm.reading or (self._is_out() and self._may_restore())),
            kept=self._warm.store.written if self._warm is not None else 0.0,
            resources=self._resources(),
            held=self._guard.held,
        )

    def _warm_as_of(self) -> float:
        """Of when the warm file is that some of the objects are from; 0 where none is."""
        return self._warm.as_of if self._warm is not None and any(mirror.warm for mirror in self._mirrors) else 0.0
