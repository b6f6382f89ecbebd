"""What proxies report that they sent where: windows of each proxy's own figures, and sums over all of them.

Reports are observations, which change nothing that a proxy is sent: they stand beside the pipeline. docs/design/load.md has the bounds.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from sys import intern
from typing import Any, Final

from steersman.model.ids import Locality
from steersman.model.objects import Row

MOST_ROWS: Final = 200_000
"""Rows that all reporters hold together, of about 350 bytes each."""
MOST_SERIES: Final = 10_000
"""Upstream clusters and localities (and likewise clusters and drop categories) that are summed each by itself."""
OTHER: Final = "(other)"
"""Stands for what is past MOST_SERIES."""
_LONGEST_NAME: Final = 1_024
_SHORTEST_WINDOW: Final = 30.0


class LocalityLoad(Row, frozen=True, kw_only=True):
    """Requests per second to one locality of a cluster: issued, and ended well or not (where no connection could be had, an error that was
    not issued). `in_progress`: how many were as of the last report."""

    locality: str
    issued: float
    succeeded: float
    failed: float
    in_progress: int


class ClusterLoad(Row, frozen=True, kw_only=True):
    """`localities`: those with requests, by name. `dropped`: requests per second that the proxy itself refused, by category."""

    localities: tuple[LocalityLoad, ...] = ()
    dropped: tuple[tuple[str, float], ...] = ()


class ProxyLoad(Row, frozen=True, kw_only=True):
    """What a proxy with an open stream of reports says. `last`: when it last did, by the clock that reports were taken with; None: not yet.
    `seconds`: that the figures are of. `clusters`: those asked for, by name, each of them."""

    last: float | None
    seconds: float
    clusters: Mapping[str, ClusterLoad]


class LoadFigures(Row, frozen=True, kw_only=True):
    """The sums of all reports, as of a moment. `totals`: issued, succeeded, failed and in progress, by (cluster, locality). The others as
    `Loads` has them."""

    totals: tuple[tuple[tuple[str, str], tuple[int, int, int, int]], ...]
    dropped: Mapping[tuple[str, str], int]
    reports: int
    left_out: int
    reporters: int


class Total:
    """Requests of all proxies to one locality of one cluster since the server started; `in_progress`: now."""

    __slots__ = ("failed", "in_progress", "issued", "succeeded")

    def __init__(self) -> None:
        self.issued = 0
        self.succeeded = 0
        self.failed = 0
        self.in_progress = 0


class _Row:
    """What one reporter says of one locality of one cluster. `now`, `before`: issued, succeeded and failed in two windows. `number`: of the
    report that mentioned it last."""

    __slots__ = ("before", "in_progress", "now", "number", "total")

    def __init__(self, total: Total) -> None:
        self.total = total
        self.now = [0, 0, 0]
        self.before = [0, 0, 0]
        self.in_progress = 0
        self.number = 0


class Reporter:
    """One stream of reports."""

    __slots__ = ("_began", "_drops", "_loads", "_number", "_rows", "_seconds", "last", "proxy")

    def __init__(self, loads: "Loads", proxy: str, now: float) -> None:
        self.proxy = proxy
        self.last: float | None = None
        self._loads = loads
        self._began = now
        self._number = 0
        self._seconds = [0.0, 0.0]
        self._rows: dict[tuple[str, str], _Row] = {}
        self._drops: dict[tuple[str, str], list[int]] = {}

    def take(self, stats: Iterable[Any], now: float) -> None:
        """A report: envoy.config.endpoint.v3.ClusterStats of what happened since the one before. `now`: seconds of any clock."""
        self._loads.reports += 1
        self._number += 1
        if self._seconds[0] >= self._loads.window:
            self._turn()
        covered = 0.0
        for cluster in stats:
            # Envoy lists every cluster that it has; nearly all of them are idle, and of those as little is read as will do.
            if cluster.upstream_locality_stats:
                self._add(cluster)
            elif not cluster.total_dropped_requests:
                continue
            if cluster.total_dropped_requests:
                self._drop(cluster)
            interval = cluster.load_report_interval
            covered = max(covered, interval.seconds + interval.nanos / 1e9)
        self._seconds[0] += covered or now - (self._began if self.last is None else self.last)
        self.last = now
        for row in self._rows.values():
            if row.in_progress and row.number != self._number:
                self._progress(row, 0)

    def leave(self) -> None:
        """The stream has ended: what it reported is forgotten but in the sums."""
        for row in self._rows.values():
            self._progress(row, 0)
        self._loads.rows -= len(self._rows) + len(self._drops)
        self._rows.clear()
        self._drops.clear()
        self._loads.gone(self)

    def _add(self, cluster: Any) -> None:
        name = cluster.cluster_name
        for stats in cluster.upstream_locality_stats:
            place = stats.locality
            locality = str(Locality(place.region, place.zone, place.sub_zone))
            row = self._rows.get((name, locality)) or self._row(name, locality)
            total = self._loads.total(name, locality) if row is None else row.total
            total.issued += stats.total_issued_requests
            total.succeeded += stats.total_successful_requests
            total.failed += stats.total_error_requests
            if row is None:
                continue
            row.now[0] += stats.total_issued_requests
            row.now[1] += stats.total_successful_requests
            row.now[2] += stats.total_error_requests
            # A locality stands in a report once for each priority.
            self._progress(row, stats.total_requests_in_progress + (row.in_progress if row.number == self._number else 0))
            row.number = self._number

    def _row(self, cluster: str, locality: str) -> _Row | None:
        """A new one; None where there is no room."""
        if not self._loads.has_room(cluster, locality):
            return None
        row = self._rows[intern(cluster), intern(locality)] = _Row(self._loads.total(cluster, locality))
        return row

    def _progress(self, row: _Row, count: int) -> None:
        row.total.in_progress += count - row.in_progress
        row.in_progress = count

    def _drop(self, cluster: Any) -> None:
        named = {drop.category: drop.dropped_count for drop in cluster.dropped_requests}
        rest = cluster.total_dropped_requests - sum(named.values())
        for category, count in (*named.items(), ("", rest)):
            if count > 0:
                key = (cluster.cluster_name, category)
                self._loads.drop(*key, count)
                if key in self._drops or self._loads.has_room(*key):
                    self._drops.setdefault(key, [0, 0])[0] += count

    def _turn(self) -> None:
        """The present window becomes the one before; what was empty in both goes."""
        self._seconds = [0.0, self._seconds[0]]
        held = len(self._rows) + len(self._drops)
        for key, row in list(self._rows.items()):
            if any(row.now) or row.in_progress:
                row.now, row.before = [0, 0, 0], row.now
            else:
                del self._rows[key]
        for key, drops in list(self._drops.items()):
            if drops[0]:
                drops[:] = [0, drops[0]]
            else:
                del self._drops[key]
        self._loads.rows -= held - len(self._rows) - len(self._drops)

    # -- asked --------------------------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        return sum(self._seconds)

    def sum_up(self, clusters: Collection[str], sums: dict[tuple[str, str], list[float]], drops: dict[tuple[str, str], float]) -> None:
        """Adds what it says of these clusters per second, and how many are in progress, to what others say."""
        seconds = self.seconds
        if not seconds:
            return
        for key, row in self._rows.items():
            if key[0] in clusters:
                found = sums.setdefault(key, [0.0, 0.0, 0.0, 0])
                for at in range(3):
                    found[at] += (row.now[at] + row.before[at]) / seconds
                found[3] += row.in_progress
        for key, drop in self._drops.items():
            if key[0] in clusters:
                drops[key] = drops.get(key, 0.0) + sum(drop) / seconds


class Loads:
    """All reports. `window`: seconds; figures are of one to two of them. `totals`, `dropped`: by (cluster, locality) and by (cluster,
    category). `reports`: how many came. `rows`: how many reporters hold. `left_out`: figures that had no room, and were only summed."""

    def __init__(self, interval: float) -> None:
        self.window = max(_SHORTEST_WINDOW, 3 * interval)
        self.totals: dict[tuple[str, str], Total] = {}
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.reports = 0
        self.rows = 0
        self.left_out = 0
        self._reporters: dict[str, list[Reporter]] = {}

    @property
    def reporters(self) -> int:
        """How many streams there are."""
        return sum(map(len, self._reporters.values()))

    def figures(self) -> LoadFigures:
        """The sums now. Costs a copy of them: they can be read in another thread then."""
        return LoadFigures(
            totals=tuple((key, (one.issued, one.succeeded, one.failed, one.in_progress)) for key, one in self.totals.items()),
            dropped=dict(self.dropped),
            reports=self.reports,
            left_out=self.left_out,
            reporters=self.reporters,
        )

    def join(self, proxy: str, now: float) -> Reporter:
        """A stream of reports begins. `proxy`: Proxy.id."""
        reporter = Reporter(self, proxy, now)
        self._reporters.setdefault(proxy, []).append(reporter)
        return reporter

    def gone(self, reporter: Reporter) -> None:
        """Told by the reporter."""
        reporters = self._reporters[reporter.proxy]
        reporters.remove(reporter)
        if not reporters:
            del self._reporters[reporter.proxy]

    def has_room(self, *names: str) -> bool:
        """Whether a reporter may hold one row more, under these names. If so, it is counted; if not, it is counted as left out."""
        room = self.rows < MOST_ROWS and max(map(len, names)) <= _LONGEST_NAME
        if room:
            self.rows += 1
        else:
            self.left_out += 1
        return room

    def total(self, cluster: str, locality: str) -> Total:
        """The sum of this cluster and locality, or of all others."""
        total = self.totals.get((cluster, locality))
        if total is None:
            full = len(self.totals) >= MOST_SERIES or max(len(cluster), len(locality)) > _LONGEST_NAME
            key = (OTHER, "") if full else (intern(cluster), intern(locality))
            total = self.totals.setdefault(key, Total())
        return total

    def drop(self, cluster: str, category: str, count: int) -> None:
        """Requests that a proxy itself refused. `category`: as the endpoints' policy names it; "" where it doesn't."""
        key = (cluster, category)
        if key not in self.dropped and (len(self.dropped) >= MOST_SERIES or max(map(len, key)) > _LONGEST_NAME):
            key = (OTHER, "")
        self.dropped[key] += count

    def of(self, proxy: str, clusters: Collection[str], now: float) -> ProxyLoad | None:
        """What a proxy says of these clusters, over all its streams; None: it has none. One that is silent for a window sends nothing."""
        reporters = self._reporters.get(proxy)
        if not reporters:
            return None
        fresh = [one for one in reporters if one.last is not None and now - one.last <= self.window]
        sums: dict[tuple[str, str], list[float]] = {}
        drops: dict[tuple[str, str], float] = {}
        for reporter in fresh:
            reporter.sum_up(clusters, sums, drops)
        return ProxyLoad(
            last=max((one.last for one in reporters if one.last is not None), default=None),
            seconds=max((one.seconds for one in fresh), default=0.0),
            clusters={name: _cluster_load(name, sums, drops) for name in clusters},
        )


def _cluster_load(name: str, sums: Mapping[tuple[str, str], list[float]], drops: Mapping[tuple[str, str], float]) -> ClusterLoad:
    localities = [
        LocalityLoad(locality=locality, issued=issued, succeeded=succeeded, failed=failed, in_progress=int(in_progress))
        for (cluster, locality), (issued, succeeded, failed, in_progress) in sorted(sums.items())
        if cluster == name and (issued or succeeded or failed or in_progress)
    ]
    dropped = [(category, rate) for (cluster, category), rate in sorted(drops.items()) if cluster == name and rate]
    return ClusterLoad(localities=tuple(localities), dropped=tuple(dropped))
