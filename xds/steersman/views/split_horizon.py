"""The endpoints of a service port from where a proxy stands: direct ones, and gateways with exact shares (rules 6 and 7)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import lcm

from steersman.graph import Reader
from steersman.model.ids import Locality
from steersman.model.mesh import (
    Arrangement,
    Carried,
    CellIndex,
    DirectCells,
    Horizon,
    Layout,
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

Candidate = tuple[int, Traits, tuple[NetworkGateway, ...], int]
"""A cell that is seen: its position in the shape, the gateways that lead to it (none for a direct one), and where it stands in the order of
preference, the first lowest."""


def layout_of(read: Reader, key: LayoutKey) -> Layout:
    """What services of this shape have in common for a proxy with this horizon: the verdicts, and who shares in whose weight."""
    shape, horizon = key.shape, key.horizon
    verdicts = tuple([read(VERDICTS, VerdictKey(traits, horizon)) for traits in shape.cells])
    return Layout(verdicts=verdicts, arrangement=_arranged(_candidates(shape, verdicts), shape))


def seen_from(read: Reader, key: SeenKey) -> SplitHorizon:
    """What a proxy with this horizon is sent for a service port.

    Direct endpoints stay cell by cell; those behind gateways become the gateways' shares of their weight. Weights are integers in exact
    proportion: all are multiplied by `scale`, the least common multiple of the numbers of gateways that endpoints here are shared over.
    What is left out, and by which rule, is `verdict`'s to say; the same answers are explain's.
    """
    port, horizon = key.port, key.horizon
    index = read(CELL_INDEX, port)
    layout = read(LAYOUTS, LayoutKey(index.shape, horizon))
    if index.shared or index.at_gateways:
        return _collided(read, key, index, layout)
    return _assigned(layout.arrangement, index.weights)


def preference_of(verdict: Verdict) -> int:
    """Where a cell stands in a proxy's order of preference. Localities are equal without outlier detection, as in Istio: failover needs
    it. Endpoints of a cluster in an outage may stand behind all others."""
    return int(verdict.demoted)


def _candidates(shape: Shape, verdicts: Iterable[Verdict]) -> list[Candidate]:
    found = zip(range(len(shape.cells)), shape.cells, verdicts, strict=True)
    return [(position, traits, verdict.gateways, preference_of(verdict)) for position, traits, verdict in found if verdict.rule.admits]


def _arranged(candidates: list[Candidate], shape: Shape) -> Arrangement:
    exact = lcm(*[len(gateways) for _, _, gateways, _ in candidates if gateways])
    priorities = {preference: rank for rank, preference in enumerate(sorted({preference for *_, preference in candidates}))}
    direct: dict[Level, list[tuple[Traits, int]]] = {}
    fronts: dict[Place, dict[Level, tuple[NetworkGateway, list[tuple[int, int]]]]] = {}
    for position, traits, gateways, preference in candidates:
        level = (priorities[preference], traits.locality)
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
        unseen=tuple(sorted({*range(len(shape.cells))} - {position for position, *_ in candidates})),
        headless=shape.headless,
    )


# -- an address once ----------------------------------------------------------------------------------------------------------


def _collided(read: Reader, key: SeenKey, index: CellIndex, layout: Layout) -> SplitHorizon:
    """The same where addresses of the cells are also others', or gateways'. What is left out for that takes its weight along."""
    weights = list(index.weights)
    candidates = _candidates(index.shape, layout.verdicts)
    seen = frozenset(traits for _, traits, gateways, _ in candidates if not gateways)
    without = _without(index, seen, key.horizon)
    for position, traits, gateways, _ in candidates:
        if not gateways:
            weights[position] -= _lost(read, key, traits, without)
    taken = _taken(index, seen, without)
    if not without and not taken:
        return assigned(layout.arrangement, weights)
    kept: list[Candidate] = []
    for position, traits, gateways, preference in candidates:
        free = tuple(gateway for gateway in gateways if gateway[:2] not in taken)
        if free or (not gateways and weights[position]):
            kept.append((position, traits, free, preference))
    return assigned(_arranged(kept, index.shape), weights, without, _shadowed(candidates, taken))


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
    return tuple(sorted({gateway for _, _, gateways, _ in candidates for gateway in gateways if gateway[:2] in taken}))


# -- weights ------------------------------------------------------------------------------------------------------------------


def assigned(
    arrangement: Arrangement,
    cells: Sequence[int],
    without: tuple[tuple[Traits, str, int], ...] = (),
    shadowed: tuple[NetworkGateway, ...] = (),
) -> SplitHorizon:
    """`cells`: the weight of each, by position."""
    weights = _seen(cells, arrangement.unseen)
    scale = exact = arrangement.exact
    burdens, of_fronts = _burdens(arrangement)
    carried: list[tuple[int, int]] = []
    for burden in burdens:
        units = [sum([weights[position] * times for position, times in cells]) for _, cells in burden]
        carried.append((_home(burden, units) if len(units) > 1 else 0, sum(units)))
    homes = [carried[burden][0] for burden in of_fronts]
    shares = [carried[burden][1] for burden in of_fronts]
    rounded = exact * sum(weights) > MOST and (most := _largest_sum(arrangement, weights, homes, shares)) > MOST
    if rounded:
        scale = max(1, (MOST - len(shares)) * exact // most)
        shares = apportion(shares, scale, exact)
    return SplitHorizon(
        arrangement=arrangement,
        scale=scale,
        weights=weights,
        homes=tuple(homes),
        shares=tuple(shares),
        without=without,
        shadowed=shadowed,
        rounded=rounded,
    )


@lru_cache(maxsize=1 << 10)
def _assigned(arrangement: Arrangement, cells: tuple[int, ...]) -> SplitHorizon:
    """The same where no address collides: services of equal shape and weights, as most of a mesh's are, have it in common."""
    return assigned(arrangement, cells)


def _seen(cells: Sequence[int], unseen: tuple[int, ...]) -> tuple[int, ...]:
    """The weights, 0 of what is not seen: a change of that is none here."""
    if not unseen:
        return tuple(cells)
    weights = list(cells)
    for position in unseen:
        weights[position] = 0
    return tuple(weights)


Burden = tuple[tuple[Level, tuple[tuple[int, int], ...]], ...]
"""What a gateway carries: for each group behind it the cells, by their positions, and how often each's weight counts."""


@lru_cache(maxsize=1 << 12)
def _burdens(arrangement: Arrangement) -> tuple[tuple[Burden, ...], tuple[int, ...]]:
    """What the gateways carry, each such thing once, and which of them each of the fronts does: those of one network carry the same."""
    found: dict[Burden, int] = {}
    of_fronts = [found.setdefault(tuple((level, cells) for level, _, cells in front), len(found)) for front in arrangement.fronts]
    return tuple(found), tuple(of_fronts)


def _home(burden: Burden, units: list[int]) -> int:
    """Which group a gateway stands in, with its whole weight: of those of best priority, which come first, that of its largest share; of
    equal ones the first."""
    best = burden[0][0][0]
    if burden[-1][0][0] != best:
        units = [unit for ((priority, _), _), unit in zip(burden, units, strict=True) if priority == best]
    return units.index(max(units))


def _largest_sum(arrangement: Arrangement, weights: tuple[int, ...], homes: list[int], shares: list[int]) -> int:
    """The largest sum of one priority's weights, in units of 1/exact; a locality's sum is part of it."""
    totals: dict[int, int] = {}
    for (priority, _), _, positions in arrangement.direct:
        totals[priority] = totals.get(priority, 0) + arrangement.exact * sum([weights[position] for position in positions])
    for front, home, share in zip(arrangement.fronts, homes, shares, strict=True):
        priority = front[home].level[0]
        totals[priority] = totals.get(priority, 0) + share
    return max(totals.values(), default=0)


def apportion(units: list[int], scale: int, exact: int) -> list[int]:
    """Shares in units of 1/exact as integers in units of 1/scale: rounded by largest remainder (the first of equal ones), so that their
    sum is kept, and at least 1."""
    floors = [unit * scale // exact for unit in units]
    remainders = [unit * scale % exact for unit in units]
    left = sum(remainders) // exact
    for position in sorted(range(len(units)), key=lambda position: (-remainders[position], position))[:left]:
        floors[position] += 1
    return [max(1, floor) for floor in floors]
