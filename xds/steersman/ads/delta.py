"""Delta: requests and responses hold what changes, and a removal is said by name."""

from collections.abc import Container, Mapping

from steersman.ads.batch import ASKED
from steersman.ads.channel import NOTHING, Channel
from steersman.ads.messages import FULL_STATE, Action, DeltaRequested, Variant
from steersman.ads.stream import Composed, Stream, split_wildcard, withheld
from steersman.names import CDS, EDS
from steersman.snapshot.table import LARGE


class DeltaStream(Stream[DeltaRequested]):
    """Every response holds only what the client doesn't have, and is split below LARGE. A missing name is said to be so at once, and
    stays subscribed. A client that reconnects says what it holds: it gets the difference, removals among it."""

    variant = Variant.DELTA

    def _subscribe(self, channel: Channel, request: DeltaRequested, first: bool, now: float) -> None:
        if not (request.subscribe or request.unsubscribe or first):
            return
        all_wanted, wanted = split_wildcard(request.subscribe)
        all_unwanted, unwanted = split_wildcard(request.unsubscribe)
        initial = request.initial if first else {}
        names = channel.names | wanted
        self._bounded(request.type_url, wanted, len(names))
        if first and not request.subscribe and not request.unsubscribe:
            all_wanted = request.type_url in FULL_STATE or request.type_url not in self._tables
        if initial:
            self._reopens(request.type_url, now)
            if channel.heartbeats is not None:
                channel.heartbeats.reopened(now)
        known = self._said_to_hold(channel, initial)
        for name in wanted - (known.keys() - channel.table.differing(known)):
            version = known.get(name)
            if version:
                channel.held(name, version)
            else:
                channel.ask((name,))
        wildcard = (channel.wildcard or all_wanted) and not all_unwanted
        if all_wanted and channel.wildcard and channel.sweep is None:
            channel.ask(channel.table.names())
        elif all_wanted and wildcard:
            channel.sweep = {**known, **_on_its_way(channel)}
        channel.owed = channel.owed or (all_wanted and wildcard)
        channel.narrow(wildcard, names - unwanted)
        if wildcard:
            channel.ask(name for name in unwanted if name in names or channel.table.listed(name) is not None)

    def _reopens(self, type_url: str, now: float) -> None:
        """The client has been at work with another server, or with this one before.

        Where there is but one type, no other is waited for: what the client asks for on other streams has no order with this.
        """
        if self._only:
            return
        self._returned = True
        if self._reopening_until is None and len(self._channels) == 1:
            self._reopening_until = now + self._patience.reopening
        if type_url == CDS and EDS not in self._channels:
            self._unwarmed = set()

    def _said_to_hold(self, channel: Channel, initial: Mapping[str, str]) -> Mapping[str, str]:
        """What the client says that it holds; but of endpoints of clusters that were changed on this stream already, since they warm. Those
        that it takes over another stream may all have been."""
        if channel.type_url == EDS:
            unwarmed, self._unwarmed = self._unwarmed, None
            if initial and not self._only and CDS not in self._channels and self._elsewhere():
                unwarmed = set(initial)
            if unwarmed:
                initial = {name: ASKED if name in unwarmed else version for name, version in initial.items()}
        if max(map(len, initial), default=0) <= self._limits.name_length:
            return initial
        return {name: version for name, version in initial.items() if len(name) <= self._limits.name_length}

    def _compose(self, channel: Channel, actions: list[Action], *, hold: Container[str], removals: bool) -> Composed | None:
        batch = channel.settle(hold=hold, removals=removals, limit=LARGE, largest=self._largest)
        if batch.withheld:
            actions += withheld(channel.type_url, batch.withheld)
        if not batch and (not channel.owed or (hold is not NOTHING and channel.dirty)):
            return None
        channel.owed = False
        gone: tuple[str, ...] = ()
        if batch.removed or batch.refused:
            gone = tuple(sorted((*batch.removed, *(name for name, _ in batch.refused))))
        response = self._shared.response(
            self.variant,
            channel.type_url,
            tuple(batch.resources),
            gone,
            tuple(batch.refused),
            channel.table.stated,
            channel.ttl,
        )
        return Composed(response, batch.resources, batch.adds)


def _on_its_way(channel: Channel) -> dict[str, str]:
    """What the client will hold when it has read a response that was sent before it subscribed to everything; of what it had not named
    before, it may or may not."""
    resources = channel.inflight.response.resources if channel.inflight else ()
    return {resource.name: resource.version if resource.name in channel.names else ASKED for resource in resources}
