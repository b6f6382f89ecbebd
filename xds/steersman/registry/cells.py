"""Cells: the endpoints of a service port that no rule can tell apart, over all that lists them; each address on a network once (rule
10)."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import msgspec

from steersman.graph import Reader, exchanged
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
from steersman.registry.services import port_numbered

_ADDRESS = attrgetter("address")
_PLACE = attrgetter("address", "port")


class _Piece(NamedTuple):
    """What one source gives to one cell of the port in question."""

    source: ObjectRef
    port_name: str
    service: ObjectKey
    cell: SourceCell
    distinct: bool


def cell_index(read: Reader, key: ServicePortKey) -> CellIndex:
    """The cells of a service port over all clusters. Each cluster's Service says by which name its slices call the port of that number."""
    return _indexed(read, key, None)[0]


class IndexedBefore(msgspec.Struct, frozen=True, gc=False):
    """The cells that a service port's sources gave before, in which no address stood twice, and which of these were gateways'."""

    cells: tuple[SourceCell, ...]
    gateways: frozenset[str]
    at_gateways: tuple[tuple[str, int, tuple[Traits, ...]], ...]


def cell_index_again(read: Reader, key: ServicePortKey, before: IndexedBefore | None) -> tuple[CellIndex, IndexedBefore | None]:
    """The same, where of all addresses those are looked at that came or left. Nothing is kept where it would be of no use: of one source
    it is known without, and where an address stands twice all is looked at."""
    return _indexed(read, key, before)


def _indexed(read: Reader, key: ServicePortKey, before: IndexedBefore | None) -> tuple[CellIndex, IndexedBefore | None]:
    pieces = list(_pieces(read, key))
    gateways = read(GATEWAY_ADDRESSES, "")
    by_network: dict[NetworkID, list[_Piece]] = {}
    dropped: list[Dropped] = []
    duplicates: list[Unusable] = []
    alone = _of_one(pieces)
    known = before is not None and _still_known(before, pieces, gateways)
    if not (alone or known or _disjoint(pieces)):
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
    index = CellIndex(
        shape=_shape(cells, service is not None and service.headless),
        weights=tuple([weights[traits] for traits in cells]),
        duplicates=tuple(sorted(duplicates, key=lambda lost: (lost.address, lost.source))),
        shared=_shared(by_network, gone) if len(by_network) > 1 else (),
        sources=tuple([tuple(sorted(sources[traits])) for traits in cells]),
        dropped=tuple(sorted(dropped)),
        at_gateways=before.at_gateways if known and before is not None else _at_gateways(pieces, gateways, gone),
    )
    if by_network or (alone and not gateways):
        return index, None
    return index, IndexedBefore(tuple([piece.cell for piece in pieces]), gateways, index.at_gateways)


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
    if _of_one(group):
        return True
    union: set[str] = set()
    union.update(*[piece.cell.addresses for piece in group])
    return len(union) == sum([len(piece.cell.endpoints) for piece in group])


def _of_one(group: list[_Piece]) -> bool:
    """Whether all is of one source whose addresses differ."""
    first = group[0] if group else None
    return first is None or (first.distinct and all(piece.source is first.source for piece in group))


def _still_known(before: IndexedBefore, pieces: list[_Piece], gateways: frozenset[str]) -> bool:
    """Whether what was known holds: no address stands twice, and the same ones are gateways'. False also where it would take longer to find
    that out than to look at all."""
    if len(pieces) != len(before.cells) or gateways != before.gateways:
        return False
    left, entered = exchanged([(was.endpoints, piece.cell.endpoints) for was, piece in zip(before.cells, pieces, strict=True)])
    if len(entered) * len(pieces) * _LOOKED_THROUGH > sum([len(piece.cell.endpoints) for piece in pieces]):
        return False
    if gateways and not gateways.isdisjoint([endpoint.address for endpoint in (*left, *entered)]):
        return False
    return all(_stands_once(pieces, endpoint.address) for endpoint in entered)


_LOOKED_THROUGH = 5
"""Addresses that are put into a set in the time in which one is looked for in a cell."""


def _stands_once(pieces: list[_Piece], address: str) -> bool:
    found = 0
    for piece in pieces:
        inside = piece.cell.endpoints
        at = bisect_left(inside, address, key=_ADDRESS)
        while at < len(inside) and inside[at].address == address:
            found += 1
            at += 1
    return found == 1


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
    return _merged(_parts(read, key))


class MergedBefore(msgspec.Struct, frozen=True, gc=False):
    """What the sources of a cell gave it before, and what that was together."""

    parts: list[tuple[Endpoint, ...]]
    endpoints: tuple[Endpoint, ...]


def cells_again(read: Reader, key: CellKey, before: MergedBefore | None) -> tuple[tuple[Endpoint, ...], MergedBefore | None]:
    """The same, by taking out of what there was, and putting into it, what the sources give otherwise than they did. Of a cell of one
    source, which is the source's own, nothing is kept."""
    parts = _parts(read, key)
    if len(parts) < 2:
        return _merged(parts), None
    endpoints = _in_place(before, parts) if before is not None else None
    if endpoints is None:
        endpoints = _merged(parts)
    return endpoints, MergedBefore(parts, endpoints)


def _parts(read: Reader, key: CellKey) -> list[tuple[Endpoint, ...]]:
    """What each source gives to a cell, without what rule 10 takes from it."""
    listed = read(CELL_SOURCES, key.port)
    if key.traits not in listed.shape.cells:
        return []
    sources = listed.sources[listed.shape.cells.index(key.traits)]
    parts = [_cell_of(read(SOURCE_CELLS, source), name, key.traits) for source, name in sources]
    if listed.dropped:
        gone = frozenset(listed.dropped)
        of_each = zip(sources, parts, strict=True)
        parts = [tuple([one for one in part if dropped_from(source, one) not in gone]) for (source, _), part in of_each]
    return parts


def _merged(parts: list[tuple[Endpoint, ...]]) -> tuple[Endpoint, ...]:
    if len(parts) == 1:
        return parts[0]
    return tuple(sorted((endpoint for part in parts for endpoint in part), key=_PLACE))


def _in_place(before: MergedBefore, parts: list[tuple[Endpoint, ...]]) -> tuple[Endpoint, ...] | None:
    """None where it would take longer than to sort all. No two have a place in common: rule 10 sees to that."""
    if len(parts) != len(before.parts):
        return None
    left, entered = exchanged(zip(before.parts, parts, strict=True))
    if not (left or entered):
        return before.endpoints
    if (len(left) + len(entered)) * _SORTED > len(before.endpoints):
        return None
    found = list(before.endpoints)
    for endpoint in left:
        del found[bisect_left(found, _PLACE(endpoint), key=_PLACE)]
    for endpoint in entered:
        insort(found, endpoint, key=_PLACE)
    return tuple(found)


_SORTED = 8
"""Endpoints that are sorted in the time in which one is exchanged."""


def _cell_of(grouped: SourceCells, port_name: str, traits: Traits) -> tuple[Endpoint, ...]:
    for name, cells_of_port in grouped.ports:
        if name == port_name:
            for cell in cells_of_port:
                if cell.traits == traits:
                    return cell.endpoints
    return ()
