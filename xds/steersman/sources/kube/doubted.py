"""One Service of a cluster that lost endpoints in doubt: how many it had, how many the API lists now, and those that are held. Pure."""

from collections.abc import Iterator

import msgspec

from steersman.model.ids import IPFamily, ObjectKey
from steersman.model.objects import CONDITIONS, EndpointSlice, SliceEndpoint
from steersman.model.removals import held_slice

_UP = frozenset(said.code for said in CONDITIONS if said.ready and not said.terminating)
"""Of endpoints that are up. One that terminates isn't: somebody has decided that it goes."""


def is_up(endpoint: SliceEndpoint) -> bool:
    """Whether it counts as one of its Service's endpoints."""
    return endpoint.conditions.code in _UP and not endpoint.flaw


def up_in(piece: EndpointSlice | None) -> int:
    """How many endpoints of a slice are up."""
    return len(places_up(piece)) if piece is not None else 0


def places_up(piece: EndpointSlice) -> list[int]:
    """The places in a slice of those that are up."""
    entries = zip(piece.conditions, piece.members.places, strict=True)
    return [number for number, (said, place) in enumerate(entries) if said in _UP and not place.flaw]


def lost(before: EndpointSlice, now: EndpointSlice | None) -> list[SliceEndpoint]:
    """Those that were up, and are listed no longer, or as not ready. One that terminates now, or whose address is listed for another pod,
    isn't lost: the API says what became of it."""
    places = places_up(before)
    if now is not None and places:
        entries, as_before = list(_entries(before)), set(_entries(now))
        places = [number for number in places if entries[number] not in as_before]
    if not places:  # nearly always
        return []
    listed = {endpoint.address: endpoint for endpoint in now.endpoints} if now is not None else {}
    return [endpoint for endpoint in map(before.endpoint, places) if _is_lost(endpoint, listed.get(endpoint.address))]


def _entries(piece: EndpointSlice) -> Iterator[tuple[str, str, int]]:
    """Address, pod and conditions of each."""
    return zip(piece.members.addresses, piece.members.pods, piece.conditions, strict=True)


def _is_lost(endpoint: SliceEndpoint, listed: SliceEndpoint | None) -> bool:
    return listed is None or (listed.pod == endpoint.pod and not listed.ready and not listed.terminating)


class _Piece:
    """What is held of one EndpointSlice: as it was when it listed these endpoints, by their addresses."""

    __slots__ = ("endpoints", "slice")

    def __init__(self, piece: EndpointSlice) -> None:
        self.slice = piece
        self.endpoints: dict[str, SliceEndpoint] = {}


class Doubted:
    """`before`: the endpoints that were up when the first was lost; `up`: those that the API lists so now. `began`: when that was; `since`:
    when it was decided to hold what is lost, 0 before. `why`: in words. `pending`: addresses of which it isn't decided yet, shown as the
    held ones are. `gone`: Pods that a list lacked though slices name them, with how many endpoints. `unbelieved`: slices were told since it
    was believed last what they say of readiness."""

    __slots__ = ("_addresses", "_pods", "alone", "before", "began", "gone", "key", "pending", "pieces", "since", "unbelieved", "up", "why")

    def __init__(self, key: ObjectKey, before: int, up: int, began: float) -> None:
        self.key = key
        self.alone = (key,)
        self.before = before
        self.up = up
        self.began = began
        self.since = 0.0
        self.why = ""
        self.pieces: dict[ObjectKey, _Piece] = {}
        self.pending: set[str] = set()
        self.gone: dict[ObjectKey, int] = {}
        self.unbelieved = True
        self._addresses: dict[str, ObjectKey] = {}
        self._pods: dict[tuple[str, IPFamily], tuple[str, ...]] = {}

    def __len__(self) -> int:
        """Endpoints that are lost and shown all the same."""
        return len(self._addresses) + sum(self.gone.values())

    @property
    def missing(self) -> int:
        """How many fewer endpoints the Service has, as the API says, than it had: what was replaced by others isn't missing."""
        return self.before - self.up + sum(self.gone.values())

    def outdated_by(self, piece: EndpointSlice) -> list[str]:
        """The addresses at which endpoints are held of this slice with other ports than it had last."""
        held = self.pieces.get(piece.key)
        if held is None or (held.slice.ports == piece.ports and held.slice.family is piece.family):
            return []
        return list(held.endpoints)

    def add(self, piece: EndpointSlice, endpoint: SliceEndpoint) -> None:
        """Holds an endpoint as this slice listed it. None is held at its address, and none is outdated by the slice."""
        held = self.pieces.get(piece.key)
        if held is None:
            held = self.pieces[piece.key] = _Piece(piece)
        held.endpoints[endpoint.address] = endpoint
        self._addresses[endpoint.address] = piece.key
        if endpoint.pod:
            of = endpoint.pod, piece.family
            self._pods[of] = (*self._pods.get(of, ()), endpoint.address)
        self.pending.add(endpoint.address)

    def drop(self, address: str) -> ObjectKey:
        """No longer holds what is held at this address; the key of its slice."""
        key = self._addresses.pop(address)
        piece = self.pieces[key]
        endpoint = piece.endpoints.pop(address)
        if endpoint.pod:
            left = tuple(one for one in self._pods.pop((endpoint.pod, piece.slice.family)) if one != address)
            if left:
                self._pods[endpoint.pod, piece.slice.family] = left
        if not piece.endpoints:
            del self.pieces[key]
        self.pending.discard(address)
        return key

    def at(self, address: str) -> SliceEndpoint | None:
        """What is held at an address."""
        key = self._addresses.get(address)
        return self.pieces[key].endpoints[address] if key is not None else None

    def of_pod(self, pod: str) -> list[str]:
        """The addresses at which a pod is held."""
        return [address for family in IPFamily for address in self._pods.get((pod, family), ())]

    def needs(self, pod: ObjectKey) -> bool:
        """Whether what is shown of the Service names this Pod, which the API no longer does."""
        return pod in self.gone or bool(self.of_pod(pod.name))

    def settled_by(self, piece: EndpointSlice) -> Iterator[str]:
        """Addresses of held endpoints of which this slice says something: that they are there, that they go, or that the address or the
        pod has changed hands. Not ready is all it may say for them to be held further."""
        if not self._addresses:
            return
        for number, (address, pod, _) in enumerate(_entries(piece)):
            held = self.at(address)
            if held is not None and not _is_lost(held, piece.endpoint(number)):
                yield address
            for moved in self._pods.get((pod, piece.family), ()) if pod else ():
                if moved != address:
                    yield moved

    def pending_of(self, key: ObjectKey) -> list[str]:
        """The addresses of which it isn't decided, of what this slice listed."""
        piece = self.pieces.get(key)
        return [address for address in piece.endpoints if address in self.pending] if piece is not None else []

    def shown(self, key: ObjectKey) -> EndpointSlice | None:
        """The slice that stands for what is held of the one under this key, in its order; None where nothing is."""
        piece = self.pieces.get(key)
        if piece is None:
            return None
        listed = piece.slice.listing(list(piece.endpoints.values()))
        return msgspec.structs.replace(listed, key=held_slice(key, listed.service))
