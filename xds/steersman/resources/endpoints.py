"""Endpoints, spliced: an endpoint's bytes are made once, with the cell or the cells of its locality, and every assignment in which those
stand holds those very bytes."""

from array import array
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import msgspec

from steersman.graph import Reader, differences
from steersman.model.ids import Locality, ServicePortKey
from steersman.model.mesh import Arrangement, Endpoint, SplitHorizon, Traits
from steersman.registry.collections import CELLS, CellKey
from steersman.resources.collections import ENCODED_CELLS, EncodedCellsKey
from steersman.resources.lb_endpoints import encoded, encoded_gateway, field, lengths_of, varint, weight_field
from steersman.resources.resource import Resource, of_parts
from steersman.views.collections import SeenKey
from steersman.views.split_horizon import seen_from


def encoded_cells(read: Reader, key: EncodedCellsKey) -> bytes:
    """The endpoints of a group's cells as LocalityLbEndpoints.lb_endpoints, sorted by (address, port), each weight multiplied by the key's
    scale."""
    return encoded(_endpoints(read, key.port, key.cells), key.scale, headless=key.headless)


class EncodedBefore(msgspec.Struct, frozen=True, gc=False):
    """What was encoded of a group's cells before: the endpoints, and of each beside it how many of the bytes are its own; no lengths where
    nobody has asked for them yet."""

    endpoints: tuple[Endpoint, ...]
    encoded: bytes
    lengths: "array[int] | None" = None


def encoded_cells_again(read: Reader, key: EncodedCellsKey, before: EncodedBefore | None) -> tuple[bytes, EncodedBefore]:
    """The same, of which only endpoints that weren't there are encoded: the bytes of one don't depend on its neighbours."""
    endpoints = _endpoints(read, key.port, key.cells)
    if before is None:
        whole = encoded(endpoints, key.scale, headless=key.headless)
        return whole, EncodedBefore(endpoints, whole)
    known = before.lengths if before.lengths is not None else lengths_of(before.encoded)
    pieces: list[bytes] = []
    lengths = array("I")
    at = taken = 0
    for left, gone, entered, ends in differences(before.endpoints, endpoints):
        stay = known[taken:left]
        encoded_anew = encoded(endpoints[entered:ends], key.scale, headless=key.headless)
        pieces += (before.encoded[at : at + sum(stay)], encoded_anew)
        lengths += stay + lengths_of(encoded_anew)
        at += sum(stay) + sum(known[left:gone])
        taken = gone
    whole = b"".join((*pieces, before.encoded[at:]))
    return whole, EncodedBefore(endpoints, whole, lengths + known[taken:])


def assignment_of(read: Reader, key: tuple[str, SeenKey]) -> Resource:
    """The ClusterLoadAssignment of that cluster name. What is seen is worked out here, not read from SEEN: there are as many of the one as
    of the other, and nearly every change of what is seen is one of the bytes."""
    name, seen_key = key
    return assignment(read, name, seen_key, seen_from(read, seen_key))


def assignment(read: Reader, name: str, key: SeenKey, seen: SplitHorizon) -> Resource:
    """What is seen of a service port, as ClusterLoadAssignment: one LocalityLbEndpoints for each group of the view that has endpoints, in
    its order: locality; direct endpoints; gateways; weight; priority.

    Parts: cells' bytes, shared with every other assignment that holds the cell; gateways, shared with every other in which they weigh as
    much; and between them what is this one's own.
    """
    parts: list[bytes] = []
    own = field(1, name.encode())
    for locality, direct, gateways, size, end in _groups(seen.arrangement, seen.scale, seen.weights, seen.homes, seen.shares):
        if direct:
            cells = _direct(read, key, direct, seen)
            parts += (own + b"\x12" + varint(size + len(cells)) + locality, cells, *gateways)
        else:
            parts += (own + b"\x12" + varint(size) + locality, *gateways)
        own = end
    parts.append(own)
    return of_parts(name, parts)


class _Group(NamedTuple):
    """A LocalityLbEndpoints but for the bytes of its direct endpoints: of those the cells, the others as fields. `size`: of all fields but
    the direct endpoints. `end`: its weight, and its priority."""

    locality: bytes
    direct: tuple[Traits, ...]
    gateways: tuple[bytes, ...]
    size: int
    end: bytes


@lru_cache(maxsize=1 << 10)
def _groups(
    arrangement: Arrangement, scale: int, weights: tuple[int, ...], homes: tuple[int, ...], shares: tuple[int, ...]
) -> tuple[_Group, ...]:
    """The groups that have endpoints. Services of equal shape and weights have them in common, and most of a mesh's are such."""
    frame = _frame(arrangement)
    behind: list[list[bytes]] = [[] for _ in frame.places]
    totals = [0] * len(frame.places)
    for front, home, share in zip(frame.fronts, homes, shares, strict=True):
        place, gateway = front[home]
        behind[place].append(_weighing(gateway, share))
        totals[place] += share
    groups: list[_Group] = []
    for (locality, direct, positions, priority), gateways, total in zip(frame.places, behind, totals, strict=True):
        if direct or gateways:
            end = weight_field(3, total + scale * sum([weights[position] for position in positions])) + priority
            groups.append(_Group(locality, direct, tuple(gateways), len(locality) + sum(map(len, gateways)) + len(end), end))
    return tuple(groups)


@lru_cache(maxsize=1 << 14)
def _weighing(gateway: bytes, weight: int) -> bytes:
    """A gateway as LocalityLbEndpoints.lb_endpoints. Equal ones are one object: each stands in the assignments of thousands of services."""
    return field(2, gateway + weight_field(4, weight))


class _Place(NamedTuple):
    """What of a LocalityLbEndpoints an arrangement decides: `locality` and `priority` as fields; cells, and their positions."""

    locality: bytes
    direct: tuple[Traits, ...]
    positions: tuple[int, ...]
    priority: bytes


class _Frame(NamedTuple):
    """What assignments of one arrangement have in common. `places`: all groups that may have endpoints. `fronts`: of each, for each group
    behind it, the group's place and the gateway as an LbEndpoint without its weight."""

    places: tuple[_Place, ...]
    fronts: tuple[tuple[tuple[int, bytes], ...], ...]


@lru_cache(maxsize=1 << 12)
def _frame(arrangement: Arrangement) -> _Frame:
    levels = arrangement.levels
    direct = {cells.level: cells for cells in arrangement.direct}
    numbers = {level: number for number, level in enumerate(levels)}
    places = []
    for level in levels:
        _, cells, positions = direct.get(level, (level, (), ()))
        priority, locality = level
        places.append(_Place(_locality(locality), cells, positions, b"\x28" + varint(priority) if priority else b""))
    fronts = [tuple((numbers[carried.level], encoded_gateway(carried.gateway)) for carried in front) for front in arrangement.fronts]
    return _Frame(tuple(places), tuple(fronts))


def _direct(read: Reader, seen_key: SeenKey, cells: tuple[Traits, ...], seen: SplitHorizon) -> bytes:
    """The bytes of a group's direct endpoints: those very ones that other assignments hold, unless some endpoint is left out here."""
    port = seen_key.port
    left_out = {lost for lost in seen.without if lost[0] in cells} if seen.without else None
    if not left_out:
        return read(ENCODED_CELLS, EncodedCellsKey(port, cells, seen.scale, seen.arrangement.headless))
    kept = tuple(one for one in _endpoints(read, port, cells) if (one.traits, one.address, one.port) not in left_out)
    return encoded(kept, seen.scale, headless=seen.arrangement.headless)


def _endpoints(read: Reader, port: ServicePortKey, cells: tuple[Traits, ...]) -> tuple[Endpoint, ...]:
    """All endpoints of these cells, sorted by (address, port)."""
    if len(cells) == 1:
        return read(CELLS, CellKey(port, cells[0]))
    return tuple(sorted((endpoint for traits in cells for endpoint in read(CELLS, CellKey(port, traits))), key=_PLACE))


_PLACE = attrgetter("address", "port")


def _locality(locality: Locality) -> bytes:
    """LocalityLbEndpoints.locality. It is there even when nothing is known of it: gRPC refuses a group without."""
    return field(1, b"".join([field(number, part.encode()) for number, part in enumerate(locality, 1) if part]))
