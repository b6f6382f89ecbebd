"""Endpoints that Services of one cluster lost in doubt: which are held, which the API has settled since, and whether it is enough to hold
them. Pure.

    slices, Pods --> Doubted (by Service) --> held slices, and Pods that these need
"""

from collections.abc import Callable, Iterable

from steersman.model.facts import Delete
from steersman.model.ids import ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import EndpointSlice, Kind, Pod, SliceEndpoint
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import Steps, run
from steersman.sources.kube.doubted import Doubted, is_up, lost, places_up, up_in
from steersman.sources.kube.held import HeldFacts
from steersman.sources.kube.listed import Listed, pod_of, service_of
from steersman.sources.kube.withheld import Absent, Withheld

BACK = "it is back, or known to be gone"
REPLACED = "as many are listed as there were"
GONE = "the Service itself is gone"
_IN_LIST = "in a list that was read anew"
_AT_A_TIME = 200
_IN_TROUBLE = "while its cluster's API was in trouble"


class Losses:
    """`doubted`: by Service. `services`: those that there are. `pod`: a Pod as the API has it now. `waits`: a list of slices or of Pods is
    being told, without which nobody knows what a Service has lost, or got back, so that nothing is decided; `moving`: one of slices is, so
    that what is lost may stand in the next."""

    def __init__(self, settings: RemovalGuardSettings, told: HeldFacts, withheld: Withheld, pod: Callable[[ObjectKey], Pod | None]) -> None:
        self.doubted: dict[ObjectKey, Doubted] = {}
        self.services: set[ObjectKey] = set()
        self.waits = False
        self.moving = False
        self._settings = settings
        self._told = told
        self._withheld = withheld
        self._pod = pod
        self._listed = Listed()
        self._touched: set[ObjectKey] = set()
        self._of_pod: dict[ObjectKey, tuple[ObjectKey, ...]] = {}
        self._at: dict[str, tuple[ObjectKey, ...]] = {}
        """The Services in which something is, or was, held of a Pod, or at an address."""
        self._anew: dict[str, ObjectKey] = {}
        """Addresses of the Pods that were told of since there has been doubt."""

    def clear(self) -> Steps[None]:
        """There is no doubt any more, and nothing is held."""
        indexes: tuple[dict[ObjectKey, tuple[ObjectKey, ...]], dict[str, tuple[ObjectKey, ...]], dict[str, ObjectKey]]
        indexes = self._of_pod, self._at, self._anew
        self._of_pod, self._at, self._anew = {}, {}, {}
        for index in indexes:
            while index:
                for _ in range(min(_AT_A_TIME, len(index))):
                    index.popitem()
                yield

    def go_on(self, before: "Losses", now: float) -> Steps[None]:
        """What the one of a run before held is held on. What the API lists is yet to be told."""
        self._anew = dict(before._anew)
        for service, held in before.doubted.items():
            doubted = self.doubted[service] = Doubted(service, held.before, 0, held.began)
            doubted.since, doubted.why = held.since, held.why
            for piece in held.pieces.values():
                for endpoint in piece.endpoints.values():
                    self._hold(doubted, piece.slice, endpoint, now)
                self._show(service, (piece.slice.key,), now)
                yield
            doubted.pending &= held.pending
            doubted.gone = dict(held.gone)
            for pod in held.gone:
                self._stands_behind(pod, doubted)
            self._told.change(ObjectRef(Kind.SERVICE, service))

    def is_over(self, missing: int, before: int) -> bool:
        """Whether that is more than is believed in doubt."""
        return missing > self._settings.share * before

    # -- slices ---------------------------------------------------------------------------------------------------------------

    def list(self, key: ObjectKey, piece: EndpointSlice | None, now: float, *, doubts: bool) -> None:
        """A slice is so now, or gone. `doubts`: what it lists no longer may be held."""
        before = self._listed.put(key, piece)
        if not (doubts or self.doubted):
            return  # nearly always
        was = service_of(before) if before is not None else None
        of = service_of(piece) if piece is not None else None
        if before is not None and was is not None:
            self._account(was, before, piece if of == was else None, now, doubts=doubts)
        if piece is not None and of is not None and of != was:
            self._account(of, None, piece, now, doubts=False)

    def _account(self, service: ObjectKey, before: EndpointSlice | None, piece: EndpointSlice | None, now: float, *, doubts: bool) -> None:
        """A slice of this Service has become another: what it lists is settled, and what it no longer lists may be doubted."""
        doubted = self.doubted.get(service)
        if doubted is None and not doubts:
            return
        losses = lost(before, piece) if before is not None and doubts else []
        change = up_in(piece) - up_in(before)
        if doubted is None:
            if not losses:
                return
            up = self._listed.up(service)
            doubted = self.doubted[service] = Doubted(service, up - change, up, now)
        else:
            doubted.up += change
        if piece is not None:
            self._settle(doubted, piece, now)
        for endpoint in losses:
            assert before is not None
            self._hold(doubted, before, endpoint, now)
        if before is not None and doubted.gone:
            self._unlist(doubted, before, piece, now)
        self._show(service, {one.key for one in (before, piece) if one is not None}, now)
        doubted.unbelieved = True
        self._touched.add(service)

    def _hold(self, doubted: Doubted, piece: EndpointSlice, endpoint: SliceEndpoint, now: float) -> None:
        if doubted.at(endpoint.address) is not None:
            return
        if outdated := doubted.outdated_by(piece):
            self._drop(doubted, outdated, now)
        doubted.add(piece, endpoint)
        self._at[endpoint.address] = _with(self._at.get(endpoint.address, ()), doubted)
        if endpoint.pod:
            self._stands_behind(pod_of(doubted.key, endpoint.pod), doubted)

    def _settle(self, doubted: Doubted, piece: EndpointSlice, now: float) -> None:
        """Drops what this slice says something of. An endpoint that is listed again while its Pod isn't, is lost by that as much, as far as
        it is decided that it is held."""
        settled = dict.fromkeys(doubted.settled_by(piece))
        if not settled:
            return
        listed = {endpoint.address: endpoint for endpoint in piece.endpoints}
        for address in settled if doubted.since else ():
            held, there = doubted.at(address), listed.get(address)
            if held is not None and there is not None and there.pod == held.pod and is_up(there):
                pod = pod_of(doubted.key, held.pod)
                if self._withheld.has_pod(pod):
                    doubted.gone[pod] = doubted.gone.get(pod, 0) + 1
        self._drop(doubted, settled, now)

    def _unlist(self, doubted: Doubted, before: EndpointSlice, piece: EndpointSlice | None, now: float) -> None:
        """Pods that a list lacked, and that the slice no longer has either, are held with their endpoints or not at all."""
        listed = {piece.members.pods[number] for number in places_up(piece)} if piece is not None else set()
        for name in before.members.pods:
            if name and name not in listed:
                pod = pod_of(doubted.key, name)
                if doubted.gone.pop(pod, 0):
                    self._free(pod, now)

    def _drop(self, doubted: Doubted, addresses: Iterable[str], now: float) -> None:
        """These endpoints are held no longer."""
        pieces: set[ObjectKey] = set()
        for address in addresses:
            endpoint = doubted.at(address)
            if endpoint is not None:
                pieces.add(doubted.drop(address))
                if endpoint.pod:
                    self._free(pod_of(doubted.key, endpoint.pod), now)
        self._show(doubted.key, pieces, now)

    def _show(self, service: ObjectKey, keys: Iterable[ObjectKey], now: float) -> None:
        """What is held of these slices, as it is now."""
        doubted = self.doubted.get(service)
        for key in keys:
            self._told.show(service, key, doubted.shown(key) if doubted is not None else None, now)

    # -- pods -----------------------------------------------------------------------------------------------------------------

    def run(self, key: ObjectKey, pod: Pod, now: float) -> None:
        """A Pod is so now. It is held no longer; and where an address is its own, it isn't another's."""
        self._withheld.pods.discard(key)
        for service in self._of_pod.get(key, ()):
            doubted = self.doubted.get(service)
            if doubted is not None:
                if doubted.gone.pop(key, 0):
                    self._touched.add(service)
                self._sift(doubted, doubted.of_pod(key.name), now)
        for address in pod.ips if pod.active else ():
            self._anew[address] = key
            for service in self._at.get(address, ()):
                if (doubted := self.doubted.get(service)) is not None:
                    self._sift(doubted, (address,), now)

    def delete(self, pod: ObjectKey, now: float) -> None:
        """A Pod is gone, and nothing is held of it."""
        self._withheld.was.pop((Kind.POD, pod), None)
        self._told.tell(Delete(kind=Kind.POD, key=pod))
        for service in self._of_pod.get(pod, ()):
            doubted = self.doubted.get(service)
            if doubted is not None:
                doubted.gone.pop(pod, 0)
                self._sift(doubted, doubted.of_pod(pod.name), now)

    def _sift(self, doubted: Doubted, addresses: Iterable[str], now: float) -> None:
        """Drops those of these that are known not to be there any more."""
        stale = [address for address in addresses if self._is_stale(doubted, address)]
        if stale:
            self._drop(doubted, stale, now)
            self._touched.add(doubted.key)

    def _is_stale(self, doubted: Doubted, address: str) -> bool:
        """Whether a held endpoint can't be there: its Pod was deleted by an event, goes, or has other addresses; or it is gone, and another
        has its address."""
        endpoint = doubted.at(address)
        if endpoint is None:
            return False
        if not endpoint.pod:
            return address in self._anew
        key = pod_of(doubted.key, endpoint.pod)
        pod = self._pod(key)
        if pod is None:
            return not self._withheld.has_pod(key) or self._anew.get(address, key) != key
        return not pod.active or pod.terminating or (bool(pod.ips) and address not in pod.ips)

    def _free(self, pod: ObjectKey, now: float) -> None:
        """Nothing is held of this Pod somewhere; unless something is elsewhere, it is gone."""
        if pod in self._withheld.pods and not self.needs(pod):
            self._withheld.pods.discard(pod)
            self.delete(pod, now)

    def needs(self, pod: ObjectKey) -> bool:
        """Whether something is held of this Pod."""
        holders = (self.doubted.get(service) for service in self._of_pod.get(pod, ()))
        return any(doubted.needs(pod) for doubted in holders if doubted is not None)

    def _stands_behind(self, pod: ObjectKey, doubted: Doubted) -> None:
        self._of_pod[pod] = _with(self._of_pod.get(pod, ()), doubted)

    def lack(self, absent: Absent, now: float, *, mass: bool) -> Steps[None]:
        """A list lacked these Pods. Holds those that held endpoints need; and those of Services that would lose too much by them, or, of a
        mass, of all that would lose any."""
        for pod in list(absent.pending):
            if self.needs(pod):
                absent.pending.discard(pod)
                self._withheld.pods.add(pod)
            yield
        over: list[tuple[ObjectKey, dict[ObjectKey, int]]] = []
        held = self._held_in_all()
        for service, pods in (yield from self._listed.naming(absent.pending)).items():
            up, more = self._listed.up(service), sum(pods.values())
            doubted = self.doubted.get(service) or Doubted(service, up, up, now)
            if service in self.services and (mass or self.is_over(doubted.missing + more, doubted.before)):
                over.append((service, pods))
                held += more
            yield
        for service, pods in over if mass or held >= self._settings.at_least else ():
            up = self._listed.up(service)
            doubted = self.doubted.setdefault(service, Doubted(service, up, up, now))
            for pod, count in pods.items():
                if pod in absent.pending or pod in self._withheld.pods:
                    absent.pending.discard(pod)
                    self._withheld.pods.add(pod)
                    doubted.gone[pod] = count
                    self._stands_behind(pod, doubted)
            self._decide(doubted, _IN_LIST, now)
            yield

    # -- deciding -------------------------------------------------------------------------------------------------------------

    def judge_touched(self, now: float) -> None:
        """Decides of what has changed since this was asked last."""
        touched, self._touched = self._touched, set()
        for service in touched:
            run(self._judge(service, now))

    def judge_all(self, now: float) -> Steps[None]:
        """Decides of everything, at the end of a list, unless another is being told."""
        waiting = [service for service, doubted in self.doubted.items() if doubted.pending or doubted.since]
        for service in waiting:
            yield from self._sift_pending(service, now)
        if self.waits:
            return
        over = (doubted for doubted in self.doubted.values() if self.is_over(doubted.missing, doubted.before))
        missing = sum([len(doubted) for doubted in over if doubted.key in self.services])
        for service in waiting:
            yield from self._judge(service, now, missing)
            yield

    def _judge(self, service: ObjectKey, now: float, missing: int | None = None) -> Steps[None]:
        """Whether what is lost of a Service is held. `missing`: at the end of a list, what was lost in all that is, or would be, held."""
        doubted = self.doubted.get(service)
        if doubted is None:
            return
        self._told.change(ObjectRef(Kind.SERVICE, service), BACK)
        if self.waits:
            if not self.moving:
                yield from self._sift_pending(service, now)
            return
        if doubted.since and doubted.missing <= 0:
            yield from self.release(service, REPLACED if len(doubted) else BACK, now)
            return
        if not self.is_over(doubted.missing, doubted.before):
            yield from self._drop_pending(doubted, now)
        elif doubted.pending:
            if missing is None:
                yield from self._sift_pending(service, now)
            most = missing if missing is not None else self._held_in_all() + len(doubted.pending)
            if doubted.pending and (doubted.since or (service in self.services and most >= self._settings.at_least)):
                doubted.pending.clear()
                self._decide(doubted, _IN_TROUBLE if missing is None else _IN_LIST, now)
            else:
                yield from self._drop_pending(doubted, now)
        if doubted.since and not len(doubted):
            del self.doubted[service]

    def _sift_pending(self, service: ObjectKey, now: float) -> Steps[None]:
        """Drops what isn't lost, before that is decided: what stands in another slice, or is known not to be there."""
        doubted = self.doubted.get(service)
        if doubted is not None and doubted.pending:
            for piece in self._listed.of(service):
                self._settle(doubted, piece, now)
                yield
            for key in list(doubted.pieces):
                self._sift(doubted, doubted.pending_of(key), now)
                yield

    def believe(self, doubted: Doubted, now: float) -> Steps[None]:
        """The API isn't in doubt any more. Where a Service lacks no more than the share, what is listed as not ready is so; what isn't
        listed may come yet."""
        if not doubted.unbelieved or self.waits or self.is_over(doubted.missing, doubted.before):
            return
        doubted.unbelieved = False
        for piece in self._listed.of(doubted.key):
            self._drop(doubted, piece.members.addresses, now)
            yield
        self._touched.add(doubted.key)

    def _drop_pending(self, doubted: Doubted, now: float) -> Steps[None]:
        for key in list(doubted.pieces):
            self._drop(doubted, doubted.pending_of(key), now)
            yield

    def _held_in_all(self) -> int:
        return sum([len(doubted) - len(doubted.pending) for doubted in self.doubted.values() if doubted.since])

    def _decide(self, doubted: Doubted, why: str, now: float) -> None:
        """Holds what is lost. What is lost later joins the same hold, so that a row of lists can't keep it up."""
        if not doubted.since:
            doubted.since, doubted.why = now, why
        self._told.change(ObjectRef(Kind.SERVICE, doubted.key))

    def release(self, service: ObjectKey, why: str, now: float) -> Steps[None]:
        """Lets go of what is held of a Service, if anything is."""
        doubted = self.doubted.pop(service, None)
        if doubted is None:
            return
        self._told.change(ObjectRef(Kind.SERVICE, service), why)
        while doubted.pieces:  # piece by piece: so many things are gone only in the same time
            key, piece = doubted.pieces.popitem()
            self._show(service, (key,), now)
            for endpoint in piece.endpoints.values() if self._withheld.pods else ():
                if endpoint.pod:
                    self._free(pod_of(service, endpoint.pod), now)
            yield
        for pod in doubted.gone:
            self._free(pod, now)
            yield


def _with(services: tuple[ObjectKey, ...], doubted: Doubted) -> tuple[ObjectKey, ...]:
    if not services:
        return doubted.alone
    return (*services, doubted.key) if doubted.key not in services else services
