"""A stream of any variant: limits, the order in which types are sent, and what waits for what.

    changes, requests --> channels (one a type: what the client doesn't know yet)
                              |  pump: one response a type at most, the next one after its ACK
        clusters, endpoints --+--> listeners, routes --> secrets, others --> removal of clusters, then of endpoints
          ^          ^        |      ^                                         ^
          |          |        |      wait while new clusters warm;             wait for the ACK of listeners and routes
          |          |        |      removals of listeners also while others wait for routes
          |          those whose cluster changed wait until the change is sent
          endpoints of a changed cluster follow it, changed or not

No type waits for the ACK of another, but for the waits above; they concern only what is pushed, never what was asked for, and end with
`Patience`.
"""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

from steersman.ads.channel import EVERYTHING, NOTHING, Channel, ChannelStatus
from steersman.ads.heartbeats import Heartbeats
from steersman.ads.messages import WILDCARD, Action, Close, NodeChanged, Request, Response, Send, Subscribed, Variant, Warms, Withheld
from steersman.ads.shared import Shared
from steersman.ads.told import TypeResources, resources_of
from steersman.errors import ProtocolError
from steersman.model.limits import LIMITS, PATIENCE, Limits, Patience
from steersman.names import CDS, EDS, LDS, RDS, SDS, TYPE_NAMES
from steersman.resources.resource import Resource
from steersman.snapshot.table import LARGE, Change, LayeredTable, Table

ORDER: Final = (CDS, EDS, LDS, RDS, SDS)
"""Make before break: what is referred to comes before what refers to it."""

_SHOWN: Final = 200
"""Characters shown of what a client says."""
_OVER: Final = -math.inf
_NOTHING: Final = LayeredTable()
_NONE: Final[Mapping[str, float]] = MappingProxyType({})

R = TypeVar("R", bound=Request)


class Wait:
    """A wait that ends, by itself or by patience. `until`: None while nothing is waited for."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until: float | None = None

    def goes_on(self, wanted: bool, now: float, patience: float) -> bool:
        """Whether to wait (on), if it were for what is `wanted`."""
        if not wanted:
            self.until = None
            return False
        if self.until is None:
            self.until = now + patience
        elif now >= self.until:
            self.until = _OVER
        return now < self.until


class Composed(NamedTuple):
    """A response to be sent. `fresh`: which of its resources the client didn't hold like this. `adds`: see InFlight."""

    response: Response
    fresh: Sequence[Resource]
    adds: bool


class Stream(Generic[R]):
    """One client's stream, sans-IO: it does nothing but say what to do, and reads no clock (`now`: seconds of any clock that goes forward).

    Every change of a table is to be told by `changed` in the same turn as it is made, before anything else is called, then `pump`.
    `largest`: bytes of a resource past which the client would drop the stream; None for any. `only`: the one type that there is on this
    stream, which requests need not name; "" for all of them. `elsewhere`: whether the client takes its clusters over another stream, asked
    when it comes back with endpoints. `ttls`: seconds, by type URL, that the client keeps what it is sent unless it
    hears of it again; a type that is missing is kept for ever.
    """

    variant: ClassVar[Variant]

    def __init__(
        self,
        tables: Mapping[str, Table],
        *,
        node_id: str = "",
        nonces: str = "",
        shared: Shared | None = None,
        limits: Limits = LIMITS,
        patience: Patience = PATIENCE,
        largest: int | None = None,
        only: str = "",
        elsewhere: Callable[[], bool] = lambda: False,
        ttls: Mapping[str, float] = _NONE,
    ) -> None:
        self.closed = False
        self._tables = dict(tables)
        self._node_id = node_id
        self._nonces = nonces
        self._shared = shared or Shared()
        self._limits = limits
        self._patience = patience
        self._largest = largest
        self._only = only
        self._elsewhere = elsewhere
        self._ttls = ttls
        self._count = 0
        self._oldest = math.inf
        self._waits = False
        self._channels: dict[str, Channel] = {}
        self._others: list[Channel] = []
        self._warm, self._behind, self._opening = Wait(), Wait(), Wait()
        self._remove_at: float | None = None
        self._reopening_until: float | None = None
        self._returned = False
        self._unwarmed: set[str] | None = None

    # -- in -----------------------------------------------------------------------------------------------------------------------

    def receive(self, request: R, now: float = 0.0) -> list[Action]:
        """What to do upon this request, in order; what a client breaks or exceeds comes as Close."""
        if self.closed:
            return []
        try:
            return self._receive(request, now)
        except ProtocolError as error:
            return self._close(error.code, str(error))

    def changed(self, type_url: str, changes: Sequence[Change]) -> None:
        """The table of that type has changed, or has become ready (then there may be no changes)."""
        channel = self._channels.get(type_url)
        if channel is not None:
            channel.change(changes)

    def retable(self, type_url: str, table: Table) -> None:
        """The client stands at another table from now on."""
        self._tables[type_url] = table
        channel = self._channels.get(type_url)
        if channel is not None:
            channel.move(table)

    def pump(self, now: float = 0.0) -> list[Action]:
        """What to do now: responses for what has changed, Close for a client that is overdue."""
        if self.closed:
            return []
        if now >= self._oldest + self._patience.ack:
            for channel in self._channels.values():
                if channel.inflight is not None and now >= channel.inflight.at + self._patience.ack:
                    return self._overdue(channel, f"response {channel.inflight.nonce!r}")
        for channel in self._channels.values() if self._ttls else ():
            if channel.heartbeats is not None and channel.heartbeats.overdue(now, self._patience.ack):
                return self._overdue(channel, "heartbeat")
        actions: list[Action] = []
        self._push_all(actions, now)
        if self._ttls:
            self._beat_all(actions, now)
        return actions

    def warm(self, clusters: Iterable[str]) -> None:
        """The client was sent these clusters over a stream that has no other type. If it has their endpoints by this one, they follow; then
        `pump`. Where endpoints have a stream of their own as well, Envoy opens a new one for a changed cluster."""
        if not self._only and EDS in self._channels and CDS not in self._channels:
            self._follow(clusters)

    def deadline(self) -> float | None:
        """When to call `pump` at the latest, even if nothing happens."""
        oldest = math.inf
        for channel in self._channels.values():
            inflight = channel.inflight
            if inflight is not None and inflight.at < oldest:
                oldest = inflight.at
        self._oldest = oldest
        earliest = oldest + self._patience.ack
        if self._waits:
            for until in (self._warm.until, self._behind.until, self._opening.until, self._remove_at, self._reopening_until):
                if until is not None and _OVER < until < earliest:
                    earliest = until
        if self._ttls:
            beats = (channel.heartbeats.deadline(self._patience.ack) for channel in self._channels.values() if channel.heartbeats)
            earliest = min((earliest, *(at for at in beats if at is not None)))
        return None if earliest == math.inf else earliest

    def drain(self) -> list[Action]:
        """The server goes away; the client keeps what it has and finds another."""
        return [] if self.closed else self._close("UNAVAILABLE", "the server is going away; connect again")

    # -- asked --------------------------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether the client has acknowledged, or refused, everything that there is to say."""
        return all(channel.still and not channel.waiting for channel in self._channels.values())

    def status(self) -> tuple[ChannelStatus, ...]:
        """Each type that the client has asked for, in the order of ORDER, then of asking."""
        return tuple(channel.status() for channel in self._ordered())

    def resources(self) -> tuple[TypeResources, ...]:
        """How far the client is with each resource of each type, in the same order. Nothing is worked out that isn't taken."""
        return tuple((channel.status(), resources_of(channel)) for channel in self._ordered())

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def _receive(self, request: R, now: float) -> list[Action]:
        request = self._typed(request)
        actions: list[Action] = []
        if request.node_id and request.node_id != self._node_id:
            actions.append(NodeChanged(request.node_id))
        channel = self._channels.get(request.type_url)
        first = channel is None
        if channel is None:
            channel = self._open(request.type_url)
        self._answered(channel, request, now, actions)
        before = (channel.wildcard, channel.names)
        self._subscribe(channel, request, first, now)
        if (channel.wildcard, channel.names) != before:
            channel.names = self._shared.names(channel.names)
            names = channel.names
            actions.append(Subscribed(request.type_url, None, names) if channel.wildcard else Subscribed(request.type_url, names))
        else:
            channel.names = before[1]
        self._push_all(actions, now)
        if self._ttls:
            self._beat_all(actions, now)
        return actions

    def _typed(self, request: R) -> R:
        """The request with its type_url, which goes without saying on a stream that has but one."""
        asked, only = request.type_url, self._only
        if asked and only in ("", asked):
            return request
        if not only:
            raise ProtocolError("INVALID_ARGUMENT", "the request has no type_url, which an aggregated stream needs; set it")
        if asked:
            text = f"type_url {asked[:_SHOWN]!r} on a stream that has {only} alone; ask the service of that type, or the aggregated one"
            raise ProtocolError("INVALID_ARGUMENT", text)
        return msgspec.structs.replace(request, type_url=only)

    def _open(self, type_url: str) -> Channel:
        if len(self._channels) >= self._limits.types:
            raise ProtocolError(
                "RESOURCE_EXHAUSTED", f"the stream asks for more than {self._limits.types} types of resource (server.xds.limits.types)"
            )
        lingers = type_url == CDS and self.variant is Variant.SOTW
        channel = self._channels[type_url] = Channel(type_url, self._tables.get(type_url, _NOTHING), lingers=lingers)
        if type_url not in ORDER:
            self._others.append(channel)
        if ttl := self._ttls.get(type_url):
            channel.heartbeats = Heartbeats(ttl)
        return channel

    def _answered(self, channel: Channel, request: R, now: float, actions: list[Action]) -> None:
        """Takes the request for an ACK or NACK if it is one."""
        if request.nonce and (action := channel.answer(request.nonce, request.error, now)) is not None:
            actions.append(action)

    def _subscribe(self, channel: Channel, request: R, first: bool, now: float) -> None:
        """Takes over the request's subscription."""
        raise NotImplementedError

    def _bounded(self, type_url: str, names: Iterable[str], count: int) -> None:
        short = TYPE_NAMES.get(type_url, type_url)
        if count > self._limits.names:
            raise ProtocolError(
                "RESOURCE_EXHAUSTED", f"{count} names of {short} subscribed, {self._limits.names} are allowed (server.xds.limits.names)"
            )
        longest = max(map(len, names), default=0)
        if longest > self._limits.name_length:
            text = f"a resource name of {longest} characters in a request for {short}, {self._limits.name_length} are allowed"
            raise ProtocolError("INVALID_ARGUMENT", f"{text} (server.xds.limits.nameLength)")

    # -- pushes -------------------------------------------------------------------------------------------------------------------

    def _compose(self, channel: Channel, actions: list[Action], *, hold: Container[str], removals: bool) -> Composed | None:
        """What is to be said now; None: nothing. `hold`: see Channel.settle."""
        raise NotImplementedError

    def _push_all(self, actions: list[Action], now: float) -> None:
        channels = self._channels
        if self._reopening_until is not None and now >= self._reopening_until:
            self._reopening_until = None
        changed, alone = None, self._reopening_until is None
        for channel in channels.values():
            if channel.sweep is not None:
                channel.compare(at_work=self._returned)
            if channel.dirty or channel.owed or channel.sweep is not None:
                alone = alone and changed is None and channel.type_url != CDS
                changed = channel
            elif channel.inflight is not None or channel.waiting:
                alone = False
        if changed is None or alone:
            # Nothing waits for anything. Nearly all changes are such, to endpoints, and go out to all streams.
            self._push(changed, actions, now)
            if changed is None or not changed.dirty:
                if self._waits:
                    self._warm.until = self._behind.until = self._opening.until = self._remove_at = None
                    self._waits = self._reopening_until is not None
                return
        self._waits = True
        clusters, endpoints, listeners, routes = channels.get(CDS), channels.get(EDS), channels.get(LDS), channels.get(RDS)
        unused = self._unused(listeners, routes, now)
        self._push(clusters, actions, now, removals=unused)
        behind = self._unsent(clusters, now)
        self._push(endpoints, actions, now, hold=behind, removals=unused and self._unasked(clusters))
        warming = self._warming(clusters, endpoints, listeners, routes, now)
        self._push(listeners, actions, now, hold=EVERYTHING if self._routeless(listeners, routes, now) or warming else NOTHING)
        self._push(routes, actions, now, hold=EVERYTHING if warming else NOTHING)
        self._push(channels.get(SDS), actions, now)
        for channel in self._others:
            self._push(channel, actions, now)
        if not unused and self._unused(listeners, routes, now):
            self._push(clusters, actions, now)
            self._push(endpoints, actions, now, hold=behind, removals=self._unasked(clusters))
        self._await_removal(clusters, endpoints, now)

    def _push(
        self, channel: Channel | None, actions: list[Action], now: float, *, hold: Container[str] = NOTHING, removals: bool = True
    ) -> None:
        if channel is None or not channel.due:
            return
        composed = self._compose(channel, actions, hold=hold, removals=removals)
        if composed is None:
            return
        nonce = self._nonce()
        channel.send(nonce, composed.response, now, adds=composed.adds)
        self._oldest = min(self._oldest, now)
        actions.append(Send(nonce, composed.response))
        if channel.type_url == CDS and composed.fresh:
            self._warms(tuple(cluster.name for cluster in composed.fresh), actions)

    def _beat_all(self, actions: list[Action], now: float) -> None:
        """Heartbeats go beside what is in flight: what lives shorter than an ACK takes would vanish else."""
        for channel in self._ordered():
            heartbeats = channel.heartbeats
            if heartbeats is None or not heartbeats.due(now):
                continue
            for resources in heartbeats.beat(channel, now, limit=LARGE, largest=self._largest):
                response = self._shared.response(
                    self.variant, channel.type_url, resources, stated=channel.table.stated, ttl=heartbeats.ttl, heartbeat=True
                )
                nonce = self._nonce()
                heartbeats.went_out(nonce, response, now)
                actions.append(Send(nonce, response))

    def _warms(self, clusters: tuple[str, ...], actions: list[Action]) -> None:
        """A changed cluster warms until its endpoints come, and Envoy does not ask for what it has: they follow, changed or not."""
        if self._only:
            actions.append(Warms(clusters))
        elif EDS in self._channels:
            self._follow(clusters)
        elif self._unwarmed is not None:
            self._unwarmed.update(clusters)

    def _follow(self, clusters: Iterable[str]) -> None:
        endpoints = self._channels[EDS]
        endpoints.follow(
            name
            for name in clusters
            if (name in endpoints.names or (endpoints.wildcard and isinstance(endpoints.table.lookup(name), Resource)))
            and not endpoints.refuses(name)
        )

    def _unused(self, listeners: Channel | None, routes: Channel | None, now: float) -> bool:
        """Whether the client has listeners and routes that no longer use what is gone, or had its time to get them."""
        if self._remove_at is not None and now >= self._remove_at:
            self._remove_at = _OVER
            return True
        missing = self._reopening_until is None
        return (missing if listeners is None else listeners.still) and (missing if routes is None else routes.still)

    def _unasked(self, clusters: Channel | None) -> bool:
        """Whether the client has lost the clusters that were removed, and with them its interest in their endpoints, or had its time to."""
        return clusters is None or clusters.still or self._remove_at == _OVER

    def _await_removal(self, clusters: Channel | None, endpoints: Channel | None, now: float) -> None:
        """Starts to count the wait of removals when nothing else of the type is left to say, and stops when they are said."""
        kept = [channel for channel in (clusters, endpoints) if channel is not None and channel.dirty and channel.table.ready]
        if not kept:
            self._remove_at = None
        elif self._remove_at is None and any(channel.inflight is None for channel in kept):
            self._remove_at = now + self._patience.removal

    def _warming(
        self, clusters: Channel | None, endpoints: Channel | None, listeners: Channel | None, routes: Channel | None, now: float
    ) -> bool:
        """Whether listeners and routes are to wait, since the client may not be able to use new clusters yet, or one that was gone, and of
        which it was told that it has no endpoints, is back, while those that it has again wait for the ACK of others."""
        waits = bool((listeners is not None and listeners.dirty) or (routes is not None and routes.dirty))
        new = clusters is not None and ((clusters.inflight is not None and clusters.inflight.adds) or clusters.unsent_additions())
        empty = endpoints is not None and endpoints.unsent_returns()
        return self._warm.goes_on(waits and (new or empty), now, self._patience.warm)

    def _unsent(self, clusters: Channel | None, now: float) -> Container[str]:
        """Clusters whose change waits for the ACK of an earlier one. Their endpoints wait with it, as they may have an identity, or speak a
        protocol, that only the changed cluster knows."""
        unsent = clusters.dirty if clusters is not None and clusters.inflight is not None else {}
        return unsent if self._behind.goes_on(bool(unsent), now, self._patience.warm) else NOTHING

    def _routeless(self, listeners: Channel | None, routes: Channel | None, now: float) -> bool:
        """Whether listeners are to wait, since one is to be removed while one waits for its route.

        They may be the same one, which took over another's address and is to leave it to a third. Of a listener that it removes before it
        was ready, Envoy closes the socket, and with it the connections that wait there to be accepted.
        """
        waits = listeners is not None and routes is not None and listeners.unsent_removals() and routes.asked
        return self._opening.goes_on(waits, now, self._patience.warm)

    # -- small things -------------------------------------------------------------------------------------------------------------

    def _ordered(self) -> list[Channel]:
        return [self._channels[type_url] for type_url in ORDER if type_url in self._channels] + self._others

    def _nonce(self) -> str:
        self._count += 1
        return f"{self._nonces}{self._count:x}"

    def _overdue(self, channel: Channel, what: str) -> list[Action]:
        short = TYPE_NAMES.get(channel.type_url, channel.type_url)
        return self._close("DEADLINE_EXCEEDED", f"no ACK or NACK of the {short} {what} within {self._patience.ack:g} s")

    def _close(self, code: str, text: str) -> list[Action]:
        self.closed = True
        return [Close(code, text)]


def split_wildcard(names: Iterable[str]) -> tuple[bool, frozenset[str]]:
    """Whether the wildcard is among the names, and the others."""
    unique = frozenset(names)
    return WILDCARD in unique, unique - {WILDCARD}


def withheld(type_url: str, found: Iterable[tuple[str, int]]) -> list[Action]:
    return [Withheld(type_url, name, size) for name, size in found]
