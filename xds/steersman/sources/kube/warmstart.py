"""What a cluster's source does with its warm file: fills mirrors with it where the API does not answer, and writes it anew.

file --restore--> mirrors --facts--> source        mirrors --keep--> file
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from steersman.model.clusters import moment
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.sources.contents import Steps
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.telling import Keeping
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.warmfile import ROWS, Header, Kept, Section, Unusable, Warm
from steersman.sources.kube.warmstore import WarmStore, header_of
from steersman.sources.pace import Leisure, Pace

log = logging.getLogger("steersman.kubernetes")


class WarmStart:
    """The warm file of one cluster in use. `may_restore`: it was not used yet, nor found to be of no use. `as_of`: wall clock seconds of
    the last contact before it was written, 0 where nothing was restored. `reading`: that is under way."""

    def __init__(self, cluster: ClusterID, store: WarmStore, timing: Timing, clock: Callable[[], float], pace: Pace) -> None:
        self.store = store
        self.may_restore = True
        self.reading = False
        self.as_of = 0.0
        self._cluster = cluster
        self._clock = clock
        self._pace = pace
        self._timing = timing
        self._keeping = Keeping(timing)
        self._followed: dict[Kind, float] = {}

    # -- restoring ------------------------------------------------------------------------------------------------------------

    async def restore(self, followers: Sequence[Follower], uid: str, wanted: Callable[[], bool]) -> Header | None:
        """Fills the mirrors of what is not whole with what the file has. `uid`: as far as the API told it. `wanted`: asked again when the
        file has been read; until it is restored it may be asked for anew. None: it was not."""
        self.reading = True
        try:
            warm = await self.store.read(uid, self._clock())
            if warm is None:
                self.may_restore = False
                return None
            sections = await self._pace.run(_taken(warm))
            if not wanted():
                return None
            self.may_restore = False
            await self._pace.run(self._restoring(followers, warm.header, sections))
        except Unusable as error:
            self.may_restore = False
            self.store.unusable(str(error))
            return None
        finally:
            self.reading = False
        return warm.header if self.as_of else None

    def _restoring(self, followers: Sequence[Follower], header: Header, sections: list[tuple[Section, list[Kept]]]) -> Steps[None]:
        now = self._clock()
        place = f"{self.store.path}, as of {moment(header.contact)}"
        kept = {section.kind: (section, objects) for section, objects in sections}
        restored = 0
        for follower, mirror in _mirrored(followers):
            if mirror.kind not in kept or mirror.whole:
                continue
            section, objects = kept[mirror.kind]
            if self.store.is_too_old(section.followed, now):
                self.store.unusable(f"what it has of {follower.resource.name} is as of {moment(section.followed)}, beyond warmStart.maxAge")
                continue
            yield from mirror.restore(objects, place, now)
            if mirror.warm:
                follower.remember()
                self._followed[section.kind] = section.followed
                restored += mirror.warm
        if restored:
            self.as_of = min(header.contact, now)
            log.warning(
                "cluster %s: %d objects are from its warm file %s, as of %s, until its API tells them",
                *(self._cluster, restored, self.store.path, moment(header.contact)),
            )

    # -- keeping --------------------------------------------------------------------------------------------------------------

    def note(self, followers: Sequence[Follower], now: float) -> None:
        """The API answers. `now`: wall clock seconds at which it was heard last."""
        for follower, mirror in _mirrored(followers):
            if mirror.whole and follower.reflector.standing in (Standing.SYNCED, Standing.MISSING):
                self._followed[mirror.kind] = now

    def is_due(self, followers: Sequence[Follower], contact: float, *, out: bool) -> bool:
        return self._keeping.due(asyncio.get_running_loop().time(), _changes(followers), contact, out=out)

    def is_behind(self, followers: Sequence[Follower], contact: float) -> bool:
        """Whether the file lacks anything."""
        return self._keeping.is_behind(_changes(followers), contact)

    async def keep(self, followers: Sequence[Follower], uid: str, contact: float, state: str, *, leisure: Leisure | None = None) -> None:
        """Writes the file; where it can't be, the store complains, and it is tried again. `leisure`: see WarmStore."""
        changes = _changes(followers)
        sections = []
        for _, mirror in _mirrored(followers):
            if mirror.whole or mirror.warm:
                sections.append((Section(kind=mirror.kind, followed=self._followed.get(mirror.kind, contact)), mirror.kept()))
        header = header_of(self.store, uid, contact, state, self._clock())
        kept = await self.store.write(header, sections, self._pace, leisure)
        self._keeping.done(asyncio.get_running_loop().time(), changes, contact, kept=kept)


def _changes(followers: Sequence[Follower]) -> int:
    return sum(mirror.changes for _, mirror in _mirrored(followers))


def _mirrored(followers: Sequence[Follower]) -> Iterator[tuple[Follower, Mirror]]:
    """Those of kinds that are kept. What else there may be, Secrets above all, never gets to a disk."""
    for follower in followers:
        mirror = follower.mirror
        if isinstance(mirror, Mirror) and mirror.kind in ROWS:
            yield follower, mirror


def _taken(warm: Warm) -> Steps[list[tuple[Section, list[Kept]]]]:
    """All of the file, so that one which can't be read to its end is not used at all; pauses after each object."""
    sections = []
    for section, objects in warm.sections():
        held = []
        for kept in objects:
            held.append(kept)
            yield
        sections.append((section, held))
    return sections
