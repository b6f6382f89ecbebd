"""What one source, an EndpointSlice or a Service's Pods, gives to the cells of each port."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from steersman.graph import Reader, exchanged
from steersman.model.ids import ObjectKey
from steersman.model.mesh import Endpoint, Health, ObjectRef, SourceCell, SourceCells, SourceEndpoints, Traits
from steersman.registry.endpoints import endpoints_from

_ADDRESS = attrgetter("address")
_TRAITS = attrgetter("traits")
_PLACE = attrgetter("address", "port")
_WEIGHT = attrgetter("weight")


def source_cells(read: Reader, source: ObjectRef) -> SourceCells:
    """One source's endpoints by port and cell, each sorted by (address, port). A pod that is listed twice counts once, the healthier
    entry."""
    return _celled(endpoints_from(read, source))


def _celled(listed: SourceEndpoints) -> SourceCells:
    ports = [(name, tuple(_grouped(endpoints, alone=listed.distinct))) for name, endpoints in listed.ports]
    return SourceCells(ports=tuple(ports), distinct=listed.distinct)


class CelledBefore(msgspec.Struct, frozen=True, gc=False):
    """What cells were made of a source before, and of what."""

    listed: SourceEndpoints
    cells: SourceCells


def source_cells_again(read: Reader, source: ObjectRef, before: CelledBefore | None) -> tuple[SourceCells, CelledBefore]:
    """The same, by taking from the cells that there were, and putting into them, what is listed otherwise than it was."""
    listed = endpoints_from(read, source)
    cells = _exchanged(before, listed) if before is not None else None
    if cells is None:
        cells = _celled(listed)
    return cells, CelledBefore(listed, cells)


def _exchanged(before: CelledBefore, listed: SourceEndpoints) -> SourceCells | None:
    """None where all is to be grouped anew: an address stood twice, or does, ports are others, or it would take longer."""
    if not (before.listed.distinct and listed.distinct) or len(before.listed.ports) != len(listed.ports):
        return None
    ports = []
    for (name, was), (name_now, now), (_, cells) in zip(before.listed.ports, listed.ports, before.cells.ports, strict=True):
        found = _in_place(cells, was, now) if name == name_now else None
        if found is None:
            return None
        ports.append((name, found))
    return SourceCells(ports=tuple(ports))


def _in_place(cells: tuple[SourceCell, ...], was: tuple[Endpoint, ...], now: tuple[Endpoint, ...]) -> tuple[SourceCell, ...] | None:
    """The cells of a port; None where so much is to be exchanged that it would take longer. A cell of which nothing is stays the object
    that it is."""
    left, entered = exchanged([(was, now)])
    if (len(left) + len(entered)) * _EXCHANGED > len(now):
        return None
    found = list(cells)
    for endpoint in left:
        _take_out(found, endpoint)
    for endpoint in entered:
        _put_in(found, endpoint)
    return tuple(found)


_EXCHANGED = 8
"""Endpoints that are grouped anew in the time in which one is exchanged."""


def _take_out(cells: list[SourceCell], endpoint: Endpoint) -> None:
    number = [cell.traits for cell in cells].index(endpoint.traits)
    held = cells[number]
    if len(held.endpoints) == 1:
        del cells[number]
        return
    place = bisect_left(held.endpoints, endpoint.address, key=_ADDRESS)
    cells[number] = SourceCell(held.traits, held.weight - endpoint.weight, held.endpoints[:place] + held.endpoints[place + 1 :])


def _put_in(cells: list[SourceCell], endpoint: Endpoint) -> None:
    for number, held in enumerate(cells):
        if held.traits == endpoint.traits:
            place = bisect_left(held.endpoints, endpoint.address, key=_ADDRESS)
            endpoints = (*held.endpoints[:place], endpoint, *held.endpoints[place:])
            cells[number] = SourceCell(held.traits, held.weight + endpoint.weight, endpoints)
            return
    insort(cells, SourceCell(endpoint.traits, endpoint.weight, (endpoint,)), key=_TRAITS)


def _grouped(endpoints: tuple[Endpoint, ...], *, alone: bool) -> Iterator[SourceCell]:
    """`alone`: no address stands twice."""
    by_object: defaultdict[int, list[Endpoint]] = defaultdict(list)
    for endpoint in endpoints:
        by_object[id(endpoint.traits)].append(endpoint)
    by_traits: dict[Traits, list[Endpoint]] = {}
    for group in by_object.values():
        by_traits.setdefault(group[0].traits, []).extend(group)
    for traits, group in sorted(by_traits.items()):
        group.sort(key=_ADDRESS if alone else _PLACE)
        kept = group if alone else _once(group)
        yield SourceCell(traits, sum(map(_WEIGHT, kept)), tuple(kept))


def _once(group: list[Endpoint]) -> list[Endpoint]:
    found: dict[tuple[str, int, ObjectKey | None], Endpoint] = {}
    for endpoint in group:
        name = (endpoint.address, endpoint.port, endpoint.workload.pod)
        if name not in found or endpoint.health is Health.HEALTHY is not found[name].health:
            found[name] = endpoint
    return list(found.values())
