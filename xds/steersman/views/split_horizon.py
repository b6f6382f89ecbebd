"""The endpoints of a service port from where a proxy stands: direct ones, and gateways with exact shares (rules 6 and 7)."""

from collections.abc import Iterable
from math import lcm

from steersman.graph import Reader
from steersman.model.ids import Locality
from steersman.model.mesh import (
    CellIndex,
    Folded,
    GatewayShare,
    Horizon,
    LocalityGroup,
    NetworkGateway,
    Rule,
    SplitHorizon,
    Traits,
    Verdict,
)
from steersman.registry.collections import CELL_INDEX, CELLS, CellKey
from steersman.views.collections import VERDICTS, SeenKey, VerdictKey

MOST = 2**32 - 1
"""Envoy's limit for the sum of a locality's endpoint weights, and of a priority's locality weights."""

Place = tuple[str, int]
"""An address with a port: stands once in an assignment."""


Level = tuple[int, Locality]
"""(priority, locality) of a group of an assignment; groups stand in this order."""

Share = tuple[NetworkGateway, int]
"""What a gateway carries for one group, in units of 1/scale. (Plain tuples, as they are made and dropped in great numbers.)"""


def seen_from(read: Reader, key: SeenKey) -> SplitHorizon:
    """What a proxy with this horizon is sent for a service port.

    Direct endpoints stay cell by cell; those behind gateways become the gateways' shares of their weight. Weights are integers in exact
    proportion: all are multiplied by `scale`, the least common multiple of the numbers of gateways that endpoints here are shared over.
    What is left out, and by which rule, is `verdict`'s to say; the same answers are explain's.
    """
    port, horizon = key
    index = read(CELL_INDEX, port)
    direct: list[tuple[Traits, int]] = []
    remote: list[tuple[Traits, int, Verdict]] = []
    for traits, weight in index.cells:
        found = read(VERDICTS, VerdictKey(traits, horizon))
        rule = found.rule
        if rule is Rule.VIA_GATEWAY:
            remote.append((traits, weight, found))
        elif rule is Rule.DIRECT or rule is Rule.DIRECT_NO_GATEWAY:
            direct.append((traits, weight))
    without = _without(index, direct, horizon) if index.shared else ()
    if without:
        direct = _reduced(read, key, direct, without)
    taken = _taken(index, direct, without) if index.at_gateways else frozenset()
    return _assigned(direct, _candidates(remote, taken), without, _shadowed(remote, taken))


def priority_of(locality: Locality) -> int:
    """Where a locality stands in a proxy's order of preference. All are equal without outlier detection, as in Istio: failover needs it."""
    return 0


# -- an address once ----------------------------------------------------------------------------------------------------------


def _without(index: CellIndex, direct: list[tuple[Traits, int]], horizon: Horizon) -> tuple[tuple[Traits, str, int], ...]:
    """Of endpoints on different networks with one address, which the proxy all takes for direct: its own network's stays, else the first
    by network."""
    seen = {traits for traits, _ in direct}
    lost: list[tuple[Traits, str, int]] = []
    for address, port, cells in index.shared:
        mine = sorted((traits.network != horizon.network, traits.network, traits) for traits in cells if traits in seen)
        lost.extend((traits, address, port) for _, _, traits in mine[1:])
    return tuple(sorted(lost))


def _reduced(
    read: Reader, key: SeenKey, direct: list[tuple[Traits, int]], without: tuple[tuple[Traits, str, int], ...]
) -> list[tuple[Traits, int]]:
    """The direct cells, their weights less those of the endpoints left out; a cell of which nothing stays is gone."""
    kept = []
    for traits, weight in direct:
        lost = {(address, port) for cell, address, port in without if cell == traits}
        if lost:
            cell = read(CELLS, CellKey(key.port, traits))
            weight -= sum(endpoint.weight for endpoint in cell if (endpoint.address, endpoint.port) in lost)
        if weight:
            kept.append((traits, weight))
    return kept


def _taken(index: CellIndex, direct: list[tuple[Traits, int]], without: tuple[tuple[Traits, str, int], ...]) -> frozenset[Place]:
    """Gateways' addresses at which a direct endpoint stands: it is what such an address means here."""
    seen = {traits for traits, _ in direct}
    lost = set(without)
    return frozenset(
        (address, port)
        for address, port, cells in index.at_gateways
        if any(traits in seen and (traits, address, port) not in lost for traits in cells)
    )


def _candidates(remote: list[tuple[Traits, int, Verdict]], taken: frozenset[Place]) -> list[tuple[Traits, int, tuple[NetworkGateway, ...]]]:
    if not taken:
        return [(traits, weight, found.gateways) for traits, weight, found in remote]
    free = [
        (traits, weight, tuple(gateway for gateway in found.gateways if (gateway.address, gateway.port) not in taken))
        for traits, weight, found in remote
    ]
    return [entry for entry in free if entry[2]]


def _shadowed(remote: list[tuple[Traits, int, Verdict]], taken: frozenset[Place]) -> tuple[NetworkGateway, ...]:
    if not taken:
        return ()
    return tuple(sorted({one for _, _, found in remote for one in found.gateways if (one.address, one.port) in taken}))


# -- weights ------------------------------------------------------------------------------------------------------------------


def _assigned(
    direct: list[tuple[Traits, int]],
    remote: list[tuple[Traits, int, tuple[NetworkGateway, ...]]],
    without: tuple[tuple[Traits, str, int], ...],
    shadowed: tuple[NetworkGateway, ...],
) -> SplitHorizon:
    scale = exact = lcm(*[len(gateways) for _, _, gateways in remote])
    placed, folded = fold(_shares(remote, exact)) if remote else ([], ())
    groups = _groups(direct, exact, placed)
    most = _largest_sum(groups)
    if most > MOST:
        scale = max(1, (MOST - len(placed)) * exact // most)
        weights = apportion([units for _, (_, units) in placed], scale, exact)
        groups = _groups(direct, scale, [(level, (share[0], weight)) for (level, share), weight in zip(placed, weights, strict=True)])
    return SplitHorizon(scale=scale, groups=groups, folded=folded, without=without, shadowed=shadowed, rounded=most > MOST)


def _largest_sum(groups: tuple[LocalityGroup, ...]) -> int:
    """The largest sum of one priority's weights; a locality's sum is part of it."""
    totals: dict[int, int] = {}
    for group in groups:
        totals[group.priority] = totals.get(group.priority, 0) + group.weight
    return max(totals.values(), default=0)


def _shares(remote: Iterable[tuple[Traits, int, tuple[NetworkGateway, ...]]], exact: int) -> dict[Place, dict[Level, Share]]:
    """What each gateway carries for each group."""
    found: dict[Place, dict[Level, Share]] = {}
    for traits, weight, gateways in remote:
        level = (priority_of(traits.locality), traits.locality)
        units = weight * exact // len(gateways)
        for gateway in gateways:
            shares = found.setdefault(gateway[:2], {})
            if level in shares:
                held, before = shares[level]
                shares[level] = (min(held, gateway), before + units)
            else:
                shares[level] = (gateway, units)
    return found


def fold(shares: dict[Place, dict[Level, Share]]) -> tuple[list[tuple[Level, Share]], tuple[Folded, ...]]:
    """Puts each gateway once, with its whole weight, in the group of best priority, then of its largest share, then of the lowest name.

    Returns what stands where, sorted by (group, address, port), and what moved. `shares` are exact, so that nothing is lost on the way.
    """
    placed: list[tuple[Level, Share]] = []
    folded: list[Folded] = []
    for fronted in shares.values():
        if len(fronted) == 1:
            placed.extend(fronted.items())
            continue
        home, (gateway, _) = min(fronted.items(), key=_preference)
        placed.append((home, (gateway, sum([units for _, units in fronted.values()]))))
        folded.extend([Folded(moved, level[1], home[1], units) for level, (moved, units) in fronted.items() if level != home])
    placed.sort()
    folded.sort()
    return placed, tuple(folded)


def _preference(entry: tuple[Level, Share]) -> tuple[int, int, Locality]:
    (priority, locality), (_, units) = entry
    return (priority, -units, locality)


def apportion(units: list[int], scale: int, exact: int) -> list[int]:
    """Shares in units of 1/exact as integers in units of 1/scale: rounded by largest remainder (the first of equal ones), so that their
    sum is kept, and at least 1."""
    floors = [unit * scale // exact for unit in units]
    remainders = [unit * scale % exact for unit in units]
    left = sum(remainders) // exact
    for position in sorted(range(len(units)), key=lambda position: (-remainders[position], position))[:left]:
        floors[position] += 1
    return [max(1, floor) for floor in floors]


def _groups(direct: list[tuple[Traits, int]], scale: int, placed: list[tuple[Level, Share]]) -> tuple[LocalityGroup, ...]:
    cells: dict[Level, list[Traits]] = {}
    fronts: dict[Level, list[GatewayShare]] = {}
    weights: dict[Level, int] = {}
    for traits, weight in direct:
        level = (priority_of(traits.locality), traits.locality)
        if level in weights:
            cells[level].append(traits)
            weights[level] += weight * scale
        else:
            cells[level] = [traits]
            weights[level] = weight * scale
    for level, (gateway, weight) in placed:
        fronts.setdefault(level, []).append(GatewayShare(gateway, weight))
        weights[level] = weights.get(level, 0) + weight
    return tuple(
        [
            LocalityGroup(
                locality=level[1],
                priority=level[0],
                direct=tuple(cells.get(level, ())),
                gateways=tuple(fronts.get(level, ())),
                weight=weights[level],
            )
            for level in sorted(weights)
        ]
    )
