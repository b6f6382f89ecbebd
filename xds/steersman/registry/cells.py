"""Cells: the endpoints of a service port that no rule can tell apart, over all that lists them; each address on a network once (rule
10)."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import msgspec

from steersman.graph import Reader, differences
from steersman.model.ids import NetworkID, ObjectKey, ServicePortKey
from steersman.model.mesh import (
    CellIndex,
    CellSources,
    Dropped,
    Endpoint,
    Health,
    ObjectRef,
    Rule,
    Shape,
    SourceCell,
    SourceCells,
    SourceEndpoints,
    Traits,
    Unusable,
)
from steersman.model.objects import Kind
from steersman.registry.collections import (
    CELL_INDEX,
    CELL_SOURCES,
    ENDPOINT_SOURCES,
    GATEWAY_ADDRESSES,
    MESH_SERVICES,
    PODS,
    SERVICES,
    SERVICES_NAMED,
    SOURCE_CELLS,
    CellKey,
)
from steersman.registry.endpoints import endpoints_from
from steersman.registry.services import port_numbered

_ADDRESS = attrgetter("address")
_TRAITS = attrgetter("traits")
_PLACE = attrgetter("address", "port")
_WEIGHT = attrgetter("weight")


class _Piece(NamedTuple):
    """What one source gives to one cell of the port in question."""

    source: ObjectRef
    port_name: str
    service: ObjectKey
    cell: SourceCell
    distinct: bool


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
        exchanged = _in_place(cells, was, now) if name == name_now else None
        if exchanged is None:
            return None
        ports.append((name, exchanged))
    return SourceCells(ports=tuple(ports))


def _in_place(cells: tuple[SourceCell, ...], was: tuple[Endpoint, ...], now: tuple[Endpoint, ...]) -> tuple[SourceCell, ...] | None:
    """The cells of a port; None where so much is to be exchanged that it would take longer. A cell of which nothing is stays the object
    that it is."""
    differ = differences(was, now)
    left = [endpoint for begins, ends, _, _ in differ for endpoint in was[begins:ends]]
    entered = [endpoint for _, _, begins, ends in differ for endpoint in now[begins:ends]]
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


def cell_index(read: Reader, key: ServicePortKey) -> CellIndex:
    """The cells of a service port over all clusters. Each cluster's Service says by which name its slices call the port of that number."""
    pieces = list(_pieces(read, key))
    by_network: dict[NetworkID, list[_Piece]] = {}
    dropped: list[Dropped] = []
    duplicates: list[Unusable] = []
    if not _disjoint(pieces):
        for piece in pieces:
            by_network.setdefault(piece.cell.traits.network, []).append(piece)
        for group in by_network.values():
            if not _disjoint(group):
                _settle(read, group, dropped, duplicates)
    weights: dict[Traits, int] = {}
    sources: dict[Traits, list[tuple[ObjectRef, str]]] = {}
    for source, port_name, _, cell, _ in pieces:
        traits = cell.traits
        if traits in weights:
            weights[traits] += cell.weight
            sources[traits].append((source, port_name))
        else:
            weights[traits] = cell.weight
            sources[traits] = [(source, port_name)]
    for drop in dropped:
        weights[drop.traits] -= drop.weight
    cells = tuple([traits for traits in sorted(weights) if weights[traits]])
    service = read(MESH_SERVICES, key.service)
    gone = frozenset(dropped)
    return CellIndex(
        shape=_shape(cells, service is not None and service.headless),
        weights=tuple([weights[traits] for traits in cells]),
        duplicates=tuple(sorted(duplicates, key=lambda lost: (lost.address, lost.source))),
        shared=_shared(by_network, gone) if len(by_network) > 1 else (),
        sources=tuple([tuple(sorted(sources[traits])) for traits in cells]),
        dropped=tuple(sorted(dropped)),
        at_gateways=_at_gateways(pieces, read(GATEWAY_ADDRESSES, ""), gone),
    )


@lru_cache(maxsize=1 << 12)
def _shape(cells: tuple[Traits, ...], headless: bool) -> Shape:
    """Equal shapes are one object where that is easily had: they are looked up more often than made."""
    return Shape(cells=cells, headless=headless)


def _pieces(read: Reader, key: ServicePortKey) -> Iterator[_Piece]:
    for found in read(SERVICES_NAMED, key.service):
        service = read(SERVICES, found)
        port = port_numbered(service, key.port) if service is not None else None
        if port is None:
            continue
        for source in read(ENDPOINT_SOURCES, found):
            contributed = read(SOURCE_CELLS, source)
            for name, cells in contributed.ports:
                if name == port.name:
                    for cell in cells:
                        yield _Piece(source, name, found, cell, contributed.distinct)


def _disjoint(group: list[_Piece]) -> bool:
    """Whether no address stands twice; by sets alone, as nearly always none does. Of one source that is known."""
    first = group[0] if group else None
    if first is None or (first.distinct and all(piece.source is first.source for piece in group)):
        return True
    union: set[str] = set()
    union.update(*[piece.cell.addresses for piece in group])
    return len(union) == sum([len(piece.cell.endpoints) for piece in group])


# -- rule 10 ------------------------------------------------------------------------------------------------------------------


class _Claim(NamedTuple):
    """An endpoint that claims an address. Sorts by seniority: its owner's (creationTimestamp, cluster, namespace, name), then health,
    then source."""

    created: str
    owner: ObjectKey
    unhealthy: bool
    source: ObjectRef
    place: int
    endpoint: Endpoint


def _settle(read: Reader, group: list[_Piece], dropped: list[Dropped], duplicates: list[Unusable]) -> None:
    """Of the endpoints with one address on one network the senior stays. Those of another owner are reported; the same owner's other
    entries (Kubernetes may list a pod in two slices for a while) just go."""
    claims: dict[tuple[str, int], list[tuple[_Piece, Endpoint]]] = {}
    for piece in group:
        for endpoint in piece.cell.endpoints:
            claims.setdefault((endpoint.address, endpoint.port), []).append((piece, endpoint))
    for claimed in claims.values():
        if len(claimed) == 1:
            continue
        senior, *others = sorted(_claim(read, piece, endpoint, place) for place, (piece, endpoint) in enumerate(claimed))
        for claim in others:
            lost = claim.endpoint
            piece = claimed[claim.place][0]
            dropped.append(Dropped(lost.traits, claim.source, lost.address, lost.port, str(lost.workload.pod or ""), lost.weight))
            if claim.owner != senior.owner:
                duplicates.append(_duplicate(lost, piece.port_name, senior))


def _claim(read: Reader, piece: _Piece, endpoint: Endpoint, place: int) -> _Claim:
    pod = endpoint.workload.pod
    row = read(PODS, pod) if pod is not None else read(SERVICES, piece.service)
    created = row.created if row is not None else ""
    return _Claim(created, pod or piece.service, endpoint.health is not Health.HEALTHY, piece.source, place, endpoint)


def _duplicate(lost: Endpoint, port_name: str, senior: _Claim) -> Unusable:
    owner = ObjectRef(Kind.POD if senior.endpoint.workload.pod is not None else Kind.SERVICE, senior.owner)
    return Unusable(
        address=lost.address,
        port_name=port_name,
        rule=Rule.DUPLICATE,
        because=owner,
        workload=lost.workload,
        source=lost.source,
        note=f"{owner} has the same address on network {lost.traits.network or 'unknown'} and is older",
    )


# -- what may collide with something else --------------------------------------------------------------------------------------


def _held(pieces: Iterable[_Piece], addresses: frozenset[str], gone: frozenset[Dropped]) -> dict[tuple[str, int], set[Traits]]:
    """Which cells hold one of these addresses, by (address, port)."""
    found: dict[tuple[str, int], set[Traits]] = {}
    for piece in pieces:
        if addresses.isdisjoint(piece.cell.addresses):
            continue
        for endpoint in piece.cell.endpoints:
            if endpoint.address in addresses and dropped_from(piece.source, endpoint) not in gone:
                found.setdefault((endpoint.address, endpoint.port), set()).add(endpoint.traits)
    return found


def _shared(by_network: dict[NetworkID, list[_Piece]], gone: frozenset[Dropped]) -> tuple[tuple[str, int, tuple[Traits, ...]], ...]:
    twice: set[str] = set()
    before: set[str] = set()
    for group in by_network.values():
        mine: set[str] = set().union(*[piece.cell.addresses for piece in group])
        twice |= before & mine
        before |= mine
    if not twice:
        return ()
    every = [piece for group in by_network.values() for piece in group]
    held = _held(every, frozenset(twice), gone)
    return tuple((*place, tuple(sorted(cells))) for place, cells in sorted(held.items()) if len(cells) > 1)


def _at_gateways(
    pieces: list[_Piece], gateways: frozenset[str], gone: frozenset[Dropped]
) -> tuple[tuple[str, int, tuple[Traits, ...]], ...]:
    if not gateways:
        return ()
    return tuple((*place, tuple(sorted(cells))) for place, cells in sorted(_held(pieces, gateways, gone).items()))


def dropped_from(source: ObjectRef, endpoint: Endpoint) -> Dropped:
    """How `CellIndex.dropped` would name this endpoint of that source."""
    return Dropped(endpoint.traits, source, endpoint.address, endpoint.port, str(endpoint.workload.pod or ""), endpoint.weight)


def cell_sources(read: Reader, key: ServicePortKey) -> CellSources:
    """What of the index says where the cells' endpoints are listed: nearly all that happens to a service leaves that as it is."""
    index = read(CELL_INDEX, key)
    return CellSources(shape=index.shape, sources=index.sources, dropped=index.dropped)


def cells(read: Reader, key: CellKey) -> tuple[Endpoint, ...]:
    """The endpoints of one cell, sorted by (address, port)."""
    listed = read(CELL_SOURCES, key.port)
    found: list[tuple[ObjectRef, tuple[Endpoint, ...]]] = []
    for traits, sources in zip(listed.shape.cells, listed.sources, strict=True):
        if traits == key.traits:
            found.extend([(source, _cell_of(read(SOURCE_CELLS, source), name, key.traits)) for source, name in sources])
    if listed.dropped:
        gone = frozenset(listed.dropped)
        found = [(source, tuple(one for one in part if dropped_from(source, one) not in gone)) for source, part in found]
    if len(found) == 1:
        return found[0][1]
    return tuple(sorted((endpoint for _, part in found for endpoint in part), key=_PLACE))


def _cell_of(grouped: SourceCells, port_name: str, traits: Traits) -> tuple[Endpoint, ...]:
    for name, cells_of_port in grouped.ports:
        if name == port_name:
            for cell in cells_of_port:
                if cell.traits == traits:
                    return cell.endpoints
    return ()
