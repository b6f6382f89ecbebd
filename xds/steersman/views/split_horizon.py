"""The endpoints of a service port from where a proxy stands: direct ones, and gateways with exact shares (rules 6 and 7)."""

from collections.abc import Iterable
from math import lcm
from operator import itemgetter

from steersman.graph import Reader
from steersman.model.ids import Locality
from steersman.model.mesh import (
    Arrangement,
    Carried,
    CellIndex,
    DirectCells,
    Folded,
    GatewayShare,
    Horizon,
    Layout,
    LocalityGroup,
    NetworkGateway,
    Shape,
    SplitHorizon,
    Traits,
    Verdict,
)
from steersman.registry.collections import CELL_INDEX, CELLS, CellKey
from steersman.views.collections import LAYOUTS, VERDICTS, LayoutKey, SeenKey, VerdictKey

MOST = 2**32 - 1
"""Envoy's limit for the sum of a locality's endpoint weights, and of a priority's locality weights."""

Place = tuple[str, int]
"""An address with a port: stands once in an assignment."""


Level = tuple[int, Locality]
"""(priority, locality) of a group of an assignment; groups stand in this order."""

Share = tuple[NetworkGateway, int]
"""What a gateway carries for one group, in units of 1/scale. (Plain tuples, as they are made and dropped in great numbers.)"""

Candidate = tuple[int, Traits, tuple[NetworkGateway, ...]]
"""A cell that is seen: its position in the shape, and the gateways that lead to it; none for a direct one."""


def layout_of(read: Reader, key: LayoutKey) -> Layout:
    """What services of this shape have in common for a proxy with this horizon: the verdicts, and who shares in whose weight."""
    shape, horizon = key
    verdicts = tuple([read(VERDICTS, VerdictKey(traits, horizon)) for traits in shape.cells])
    return Layout(verdicts=verdicts, arrangement=_arranged(_candidates(shape, verdicts)))


def seen_from(read: Reader, key: SeenKey) -> SplitHorizon:
    """What a proxy with this horizon is sent for a service port.

    Direct endpoints stay cell by cell; those behind gateways become the gateways' shares of their weight. Weights are integers in exact
    proportion: all are multiplied by `scale`, the least common multiple of the numbers of gateways that endpoints here are shared over.
    What is left out, and by which rule, is `verdict`'s to say; the same answers are explain's.
    """
    port, horizon = key
    index = read(CELL_INDEX, port)
    layout = read(LAYOUTS, LayoutKey(index.shape, horizon))
    if index.shared or index.at_gateways:
        return _collided(read, key, index, layout)
    return _assigned(layout.arrangement, [weight for _, weight in index.cells])


def priority_of(locality: Locality) -> int:
    """Where a locality stands in a proxy's order of preference. All are equal without outlier detection, as in Istio: failover needs it."""
    return 0


def _candidates(shape: Shape, verdicts: Iterable[Verdict]) -> list[Candidate]:
    found = zip(range(len(shape.cells)), shape.cells, verdicts, strict=True)
    return [(position, traits, verdict.gateways) for position, traits, verdict in found if verdict.rule.admits]


def _arranged(candidates: Iterable[Candidate]) -> Arrangement:
    candidates = list(candidates)
    exact = lcm(*[len(gateways) for _, _, gateways in candidates if gateways])
    direct: dict[Level, list[tuple[Traits, int]]] = {}
    fronts: dict[Place, dict[Level, tuple[NetworkGateway, list[tuple[int, int]]]]] = {}
    for position, traits, gateways in candidates:
        level = (priority_of(traits.locality), traits.locality)
        if not gateways:
            direct.setdefault(level, []).append((traits, position))
        for gateway in gateways:
            carried = fronts.setdefault(gateway[:2], {})
            held, cells = carried.get(level, (gateway, []))
            carried[level] = (min(held, gateway), [*cells, (position, exact // len(gateways))])
    return Arrangement(
        exact=exact,
        direct=tuple(
            DirectCells(level, tuple(traits for traits, _ in cells), tuple(position for _, position in cells))
            for level, cells in sorted(direct.items())
        ),
        fronts=tuple(
            tuple(Carried(level, gateway, tuple(cells)) for level, (gateway, cells) in sorted(carried.items()))
            for _, carried in sorted(fronts.items())
        ),
    )


# -- an address once ----------------------------------------------------------------------------------------------------------


def _collided(read: Reader, key: SeenKey, index: CellIndex, layout: Layout) -> SplitHorizon:
    """The same where addresses of the cells are also others', or gateways'. What is left out for that takes its weight along."""
    weights = [weight for _, weight in index.cells]
    candidates = _candidates(index.shape, layout.verdicts)
    seen = frozenset(traits for _, traits, gateways in candidates if not gateways)
    without = _without(index, seen, key.horizon)
    for position, traits, gateways in candidates:
        if not gateways:
            weights[position] -= _lost(read, key, traits, without)
    taken = _taken(index, seen, without)
    if not without and not taken:
        return _assigned(layout.arrangement, weights)
    kept: list[Candidate] = []
    for position, traits, gateways in candidates:
        free = tuple(gateway for gateway in gateways if gateway[:2] not in taken)
        if free or (not gateways and weights[position]):
            kept.append((position, traits, free))
    return _assigned(_arranged(kept), weights, without, _shadowed(candidates, taken))


def _without(index: CellIndex, seen: frozenset[Traits], horizon: Horizon) -> tuple[tuple[Traits, str, int], ...]:
    """Of endpoints on different networks with one address, which the proxy all takes for direct: its own network's stays, else the first
    by network. `seen`: the direct cells."""
    lost: list[tuple[Traits, str, int]] = []
    for address, port, cells in index.shared:
        mine = sorted((traits.network != horizon.network, traits.network, traits) for traits in cells if traits in seen)
        lost.extend((traits, address, port) for _, _, traits in mine[1:])
    return tuple(sorted(lost))


def _lost(read: Reader, key: SeenKey, traits: Traits, without: tuple[tuple[Traits, str, int], ...]) -> int:
    """What the endpoints of this cell that are left out weigh."""
    lost = {(address, port) for cell, address, port in without if cell == traits}
    if not lost:
        return 0
    return sum(endpoint.weight for endpoint in read(CELLS, CellKey(key.port, traits)) if (endpoint.address, endpoint.port) in lost)


def _taken(index: CellIndex, seen: frozenset[Traits], without: tuple[tuple[Traits, str, int], ...]) -> frozenset[Place]:
    """Gateways' addresses at which a direct endpoint stands: it is what such an address means here."""
    lost = set(without)
    return frozenset(
        (address, port)
        for address, port, cells in index.at_gateways
        if any(traits in seen and (traits, address, port) not in lost for traits in cells)
    )


def _shadowed(candidates: list[Candidate], taken: frozenset[Place]) -> tuple[NetworkGateway, ...]:
    return tuple(sorted({gateway for _, _, gateways in candidates for gateway in gateways if gateway[:2] in taken}))


# -- weights ------------------------------------------------------------------------------------------------------------------


def _assigned(
    arrangement: Arrangement,
    cells: list[int],
    without: tuple[tuple[Traits, str, int], ...] = (),
    shadowed: tuple[NetworkGateway, ...] = (),
) -> SplitHorizon:
    """`cells`: the weight of each, by position."""
    scale = exact = arrangement.exact
    placed, folded = fold([_shares(front, cells) for front in arrangement.fronts])
    groups = _groups(arrangement.direct, cells, exact, placed)
    most = _largest_sum(groups)
    if most > MOST:
        scale = max(1, (MOST - len(placed)) * exact // most)
        weights = apportion([units for _, (_, units) in placed], scale, exact)
        placed = [(level, (share[0], weight)) for (level, share), weight in zip(placed, weights, strict=True)]
        groups = _groups(arrangement.direct, cells, scale, placed)
    return SplitHorizon(scale=scale, groups=groups, folded=folded, without=without, shadowed=shadowed, rounded=most > MOST)


def _shares(front: tuple[Carried, ...], weights: list[int]) -> dict[Level, Share]:
    """What one gateway carries for each group."""
    shares: dict[Level, Share] = {}
    for level, gateway, cells in front:
        units = 0
        for position, times in cells:
            units += weights[position] * times
        shares[level] = (gateway, units)
    return shares


def _largest_sum(groups: tuple[LocalityGroup, ...]) -> int:
    """The largest sum of one priority's weights; a locality's sum is part of it."""
    totals: dict[int, int] = {}
    for group in groups:
        totals[group.priority] = totals.get(group.priority, 0) + group.weight
    return max(totals.values(), default=0)


def fold(shares: Iterable[dict[Level, Share]]) -> tuple[list[tuple[Level, Share]], tuple[Folded, ...]]:
    """Puts each gateway once, with its whole weight, in the group of best priority, then of its largest share, then of the lowest name.

    Returns what stands where, sorted by (group, address, port), and what moved. `shares`: of each (address, port), sorted by it; exact,
    so that nothing is lost on the way.
    """
    placed: list[tuple[Level, Share]] = []
    folded: list[Folded] = []
    for fronted in shares:
        if len(fronted) == 1:
            placed.extend(fronted.items())
            continue
        total = 0
        ranks: list[tuple[int, int, Locality]] = []
        for (priority, locality), (_, units) in fronted.items():
            total += units
            ranks.append((priority, -units, locality))
        priority, _, locality = min(ranks)
        home = (priority, locality)
        placed.append((home, (fronted[home][0], total)))
        for level, (moved, units) in fronted.items():
            if level != home:
                folded.append(Folded(moved, level[1], locality, units))
    placed.sort(key=itemgetter(0))
    folded.sort()
    return placed, tuple(folded)


def apportion(units: list[int], scale: int, exact: int) -> list[int]:
    """Shares in units of 1/exact as integers in units of 1/scale: rounded by largest remainder (the first of equal ones), so that their
    sum is kept, and at least 1."""
    floors = [unit * scale // exact for unit in units]
    remainders = [unit * scale % exact for unit in units]
    left = sum(remainders) // exact
    for position in sorted(range(len(units)), key=lambda position: (-remainders[position], position))[:left]:
        floors[position] += 1
    return [max(1, floor) for floor in floors]


def _groups(direct: tuple[DirectCells, ...], cells: list[int], scale: int, placed: list[tuple[Level, Share]]) -> tuple[LocalityGroup, ...]:
    standing = {level: (traits, scale * sum(map(cells.__getitem__, positions))) for level, traits, positions in direct}
    fronts: dict[Level, list[GatewayShare]] = {}
    for level, share in placed:
        fronts.setdefault(level, []).append(GatewayShare(*share))
    groups = []
    for level in sorted(standing.keys() | fronts.keys()) if fronts else standing:
        priority, locality = level
        traits, weight = standing.get(level, _NO_CELLS)
        gateways = tuple(fronts.get(level, ()))
        for gateway in gateways:
            weight += gateway.weight
        groups.append(LocalityGroup(locality=locality, priority=priority, direct=traits, gateways=gateways, weight=weight))
    return tuple(groups)


_NO_CELLS: tuple[tuple[Traits, ...], int] = ((), 0)
