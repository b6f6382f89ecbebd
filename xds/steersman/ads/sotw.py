"""State of the world: each request holds the whole subscription, and a response the whole state, of types where absence means deletion."""

from collections.abc import Container

from steersman.ads.batch import Batch
from steersman.ads.channel import NOTHING, Channel
from steersman.ads.codec import no_endpoints
from steersman.ads.messages import FULL_STATE, Action, Requested, Variant
from steersman.ads.stream import Composed, Stream, split_wildcard, withheld
from steersman.names import CDS, EDS
from steersman.snapshot.table import LARGE, PENDING


class SotwStream(Stream[Requested]):
    """Of CDS and LDS every response holds all that is subscribed, and is sent only when all of it is known; of other types it holds what
    changed, split below LARGE. Clusters that are gone linger in responses until listeners and routes that may use them are acknowledged."""

    variant = Variant.SOTW

    def _answered(self, channel: Channel, request: Requested, now: float, actions: list[Action]) -> None:
        """Clients repeat the nonce that they last acknowledged when they change their subscription; then it says nothing more."""
        if channel.inflight is None and channel.sent is not None and channel.sent.nonce == request.nonce:
            return
        super()._answered(channel, request, now, actions)

    def _subscribe(self, channel: Channel, request: Requested, first: bool, now: float) -> None:
        wildcard, names = split_wildcard(request.names)
        full = channel.type_url in FULL_STATE
        channel.named = channel.named or bool(request.names)
        wildcard = wildcard or (full and not channel.named)
        if (wildcard, names) == (channel.wildcard, channel.names) and not first:
            return
        self._bounded(request.type_url, names, len(names))
        had_all, had = channel.wildcard, channel.names
        if had_all and channel.sweep is not None:
            had_all, had = False, frozenset()  # it was to have all, but has not got it yet
        channel.narrow(wildcard, names)
        if first and request.version:
            channel.hint = request.version
            if channel.heartbeats is not None:
                channel.heartbeats.reopened(now)
        if wildcard and not had_all:
            if full:
                channel.owed = True
            else:
                channel.sweep = {}
                channel.ask(names - had)
        elif had_all:
            channel.ask(name for name in names - had if name not in channel.dirty and channel.by_name(name) is not None)
        else:
            channel.ask(names - had)
            may_hold = bool(channel.hint and names) or channel.on_its_way(names - had)
            channel.owed = channel.owed or (full and may_hold)

    def _compose(self, channel: Channel, actions: list[Action], *, hold: Container[str], removals: bool) -> Composed | None:
        came_back = bool(self._only and channel.hint)  # with clusters of before, any of which may be another now
        if channel.type_url in FULL_STATE:
            batch = self._full_state(channel, hold=hold, removals=removals)
        else:
            batch = self._partial(channel, hold=hold)
        if batch is None:
            return None
        actions += withheld(channel.type_url, batch.withheld)
        resources = channel.everything() if channel.type_url in FULL_STATE else tuple(batch.resources)
        refused = tuple(batch.refused)
        response = self._shared.response(self.variant, channel.type_url, resources, (), refused, channel.table.stated, channel.ttl)
        return Composed(response, resources if came_back else batch.resources, batch.adds)

    def _full_state(self, channel: Channel, *, hold: Container[str], removals: bool) -> Batch | None:
        """None as long as something subscribed is pending, since to leave it out would be to delete it."""
        if not _known(channel):
            return None
        hint, channel.hint = channel.hint, ""
        if channel.owed and channel.wildcard and not channel.names and hint and hint == channel.table.version:
            channel.owed = False  # it reconnects and has the same
        batch = channel.settle(hold=hold, removals=removals, limit=None, largest=None)
        if channel.owed and not (hold is not NOTHING and channel.dirty):
            channel.owed = False
            return batch
        return batch if batch.resources or batch.refused or len(batch.removed) > len(batch.missing) else None

    def _partial(self, channel: Channel, *, hold: Container[str]) -> Batch | None:
        gone = channel.lingering
        batch = channel.settle(hold=hold, removals=True, limit=LARGE, largest=self._largest)
        if channel.type_url == EDS and batch.missing:
            batch.resources += [gone.get(name) or no_endpoints(name) for name in batch.missing if self._lingers(name)]
            batch.resources.sort(key=lambda resource: resource.name)
        return batch if batch.resources or batch.refused else None

    def _lingers(self, cluster: str) -> bool:
        """Whether the client has this cluster, though it is gone.

        It would warm it for 15 s, and hold the ACK of all clusters back meanwhile, unless it gets endpoints: those that there were last.
        Where there were none since it has the cluster, none will do, as it is sent no route there before it has acknowledged the cluster.
        """
        clusters = self._channels.get(CDS)
        return clusters is not None and bool(clusters.dirty.get(cluster)) and clusters.table.lookup(cluster) is None


def _known(channel: Channel) -> bool:
    if channel.wildcard and not channel.table.complete:
        return False
    return not any(channel.table.lookup(name) is PENDING for name in channel.names)
