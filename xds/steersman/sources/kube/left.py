"""What a run of a source leaves to the next one, which begins after a failure of our own. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from steersman.sources.contents import Steps
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.removals import RemovalGuard


@dataclass(frozen=True, slots=True)
class Left:
    """`mirrors`: with what the API had told. `guard`: with what was held beside it. `uid`: whose API it was, "" where nobody knows."""

    mirrors: Sequence[Mirror]
    guard: RemovalGuard
    uid: str

    def handed_on(self, mirrors: Sequence[Mirror], guard: RemovalGuard, now: float) -> Steps[None]:
        """Tells all of it again, from new mirrors and a new guard: the API's next lists are judged by what is served. Nothing but values is
        taken over, so that a fresh list mends whatever was wrong in there. Pauses after each object."""
        yield from guard.go_on(self.guard, now)
        for mirror, before in zip(mirrors, self.mirrors, strict=True):
            for _ in mirror.go_on(before, now):
                guard.take(mirror.kind, mirror.facts(), now, {})
                yield
            if before.whole or before.restored:
                guard.restored(mirror.kind)
