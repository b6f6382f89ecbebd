"""Load reports, kept: what a proxy sends a second, and sums over all of them."""

from collections.abc import Mapping
from typing import Any

import pytest
from envoy.config.endpoint.v3.load_report_pb2 import ClusterStats
from hypothesis import given
from hypothesis import strategies as st

from steersman.admin import loads as module
from steersman.admin.loads import OTHER, ClusterLoad, Loads, LocalityLoad

Counts = tuple[int, int, int, int]
"""Issued, succeeded, failed, in progress."""


def stats(
    cluster: str, seconds: float = 10.0, dropped: Mapping[str, int] | None = None, total_dropped: int = 0, **localities: Counts
) -> ClusterStats:
    """Of localities by their zones."""
    message = ClusterStats(cluster_name=cluster)
    message.load_report_interval.FromNanoseconds(round(seconds * 1e9))
    for zone, counts in localities.items():
        add(message, zone, counts)
    for category, count in (dropped or {}).items():
        message.dropped_requests.add(category=category, dropped_count=count)
    message.total_dropped_requests = total_dropped or sum((dropped or {}).values())
    return message


def add(message: Any, zone: str, counts: Counts, priority: int = 0) -> None:
    one = message.upstream_locality_stats.add(priority=priority)
    one.locality.region, one.locality.zone = "r", zone
    one.total_issued_requests, one.total_successful_requests, one.total_error_requests, one.total_requests_in_progress = counts


def told(loads: Loads, now: float, cluster: str = "a", proxy: str = "p") -> ClusterLoad:
    found = loads.of(proxy, {cluster}, now)
    assert found is not None
    return found.clusters[cluster]


def rates(loads: Loads, now: float, cluster: str = "a", proxy: str = "p") -> dict[str, Counts]:
    return {
        one.locality: (round(one.issued, 3), round(one.succeeded, 3), round(one.failed, 3), one.in_progress)  # type: ignore[misc]
        for one in told(loads, now, cluster, proxy).localities
    }


def test_a_rate_is_of_what_was_reported_over_the_time_that_reports_are_of() -> None:
    loads = Loads(10.0)
    reporter = loads.join("p", 0.0)
    assert loads.of("nobody", {"a"}, 0.0) is None
    found = loads.of("p", {"a"}, 0.0)
    assert found is not None
    assert (found.last, found.seconds, found.clusters) == (None, 0.0, {"a": ClusterLoad()})
    reporter.take([stats("a", z1=(20, 15, 5, 2), z2=(10, 10, 0, 0)), stats("b", z1=(1, 1, 0, 0))], 10.0)
    assert rates(loads, 10.0) == {"r/z1": (2.0, 1.5, 0.5, 2), "r/z2": (1.0, 1.0, 0.0, 0)}
    reporter.take([stats("a", z1=(0, 0, 0, 1))], 20.0)
    assert rates(loads, 20.0) == {"r/z1": (1.0, 0.75, 0.25, 1), "r/z2": (0.5, 0.5, 0.0, 0)}


def test_an_interval_that_is_not_told_is_the_time_since_the_report_before() -> None:
    loads = Loads(10.0)
    reporter = loads.join("p", 100.0)
    reporter.take([stats("a", seconds=0, z1=(8, 8, 0, 0))], 104.0)
    assert rates(loads, 104.0) == {"r/z1": (2.0, 2.0, 0.0, 0)}
    reporter.take([], 108.0)
    assert rates(loads, 108.0) == {"r/z1": (1.0, 1.0, 0.0, 0)}


def test_a_rate_forgets_what_is_older_than_two_windows() -> None:
    loads = Loads(10.0)
    assert loads.window == 30.0
    reporter = loads.join("p", 0.0)
    reporter.take([stats("a", z1=(600, 600, 0, 0), dropped={"x": 60})], 10.0)
    seen = []
    for number in range(2, 9):
        reporter.take([stats("a")], 10.0 * number)
        seen.append((rates(loads, 10.0 * number), told(loads, 10.0 * number).dropped))
    assert [one.get("r/z1", (0,))[0] for one, _ in seen] == [30.0, 20.0, 15.0, 12.0, 10.0, 0, 0]
    assert seen[-1] == ({}, ())
    assert loads.rows == 0, "and what is empty is not kept"
    assert loads.totals["a", "r/z1"].issued == 600
    assert loads.dropped == {("a", "x"): 60}


def test_a_long_interval_has_a_long_window() -> None:
    assert Loads(60.0).window == 180.0


def test_what_a_report_does_not_mention_has_nothing_in_progress() -> None:
    loads = Loads(10.0)
    reporter = loads.join("p", 0.0)
    reporter.take([stats("a", z1=(1, 0, 0, 1)), stats("b", z1=(1, 0, 0, 3))], 10.0)
    reporter.take([stats("b", z1=(0, 0, 0, 2))], 20.0)
    assert [(total.in_progress, key) for key, total in loads.totals.items()] == [(0, ("a", "r/z1")), (2, ("b", "r/z1"))]


def test_priorities_of_one_locality_are_added_up() -> None:
    loads = Loads(10.0)
    reporter = loads.join("p", 0.0)
    for _ in range(2):
        report = stats("a", z1=(10, 5, 0, 1))
        add(report, "z1", (10, 0, 5, 2), priority=1)
        reporter.take([report], 10.0)
        assert rates(loads, 10.0) == {"r/z1": (2.0, 0.5, 0.5, 3)}
        assert loads.totals["a", "r/z1"].in_progress == 3


def test_drops_are_told_by_category_and_those_of_none_by_none() -> None:
    loads = Loads(10.0)
    reporter = loads.join("p", 0.0)
    reporter.take([stats("a", dropped={"throttle": 20, "lb": 10}, total_dropped=35)], 10.0)
    assert told(loads, 10.0).dropped == (("", 0.5), ("lb", 1.0), ("throttle", 2.0))
    assert loads.dropped == {("a", "throttle"): 20, ("a", "lb"): 10, ("a", ""): 5}


def test_what_a_proxy_reported_is_gone_with_its_stream_but_in_the_sums() -> None:
    loads = Loads(10.0)
    one, other = loads.join("p", 0.0), loads.join("q", 0.0)
    one.take([stats("a", z1=(10, 8, 1, 1), dropped={"x": 1})], 10.0)
    other.take([stats("a", z1=(10, 8, 1, 2))], 10.0)
    assert (loads.reporters, loads.rows) == (2, 3)
    one.leave()
    assert (loads.reporters, loads.rows) == (1, 1)
    assert loads.of("p", {"a"}, 10.0) is None
    total = loads.totals["a", "r/z1"]
    assert (total.issued, total.succeeded, total.failed, total.in_progress) == (20, 16, 2, 2)
    other.leave()
    assert (loads.rows, total.in_progress) == (0, 0)


def test_streams_of_one_proxy_are_added_up_and_a_silent_one_sends_nothing() -> None:
    """A gRPC client has one for each name that it dials, and is silent while it sends nothing; an old half-open one is silent for ever."""
    loads = Loads(10.0)
    one, other, new = (loads.join("p", 0.0) for _ in range(3))
    one.take([stats("a", z1=(10, 10, 0, 1))], 10.0)
    other.take([stats("a", z1=(20, 10, 0, 1), z2=(10, 10, 0, 0))], 10.0)
    assert rates(loads, 40.0) == {"r/z1": (3.0, 2.0, 0.0, 2), "r/z2": (1.0, 1.0, 0.0, 0)}
    new.take([stats("a", z2=(10, 10, 0, 0))], 45.0)
    found = loads.of("p", {"a"}, 45.0)
    assert found is not None
    assert (found.last, found.seconds) == (45.0, 10.0)
    assert found.clusters["a"].localities == (LocalityLoad(locality="r/z2", issued=1.0, succeeded=1.0, failed=0.0, in_progress=0),)
    found = loads.of("p", {"a"}, 99.0)
    assert found is not None
    assert (found.last, found.seconds, found.clusters["a"]) == (45.0, 0.0, ClusterLoad())


def test_rows_are_bounded_and_what_has_no_room_still_counts_in_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    loads = Loads(10.0)
    one, other = loads.join("p", 0.0), loads.join("q", 0.0)
    for _ in range(2):
        one.take([stats("a", z1=(1, 0, 0, 1), z2=(1, 0, 0, 1), dropped={"x": 1})], 10.0)
        other.take([stats("a", z1=(1, 0, 0, 1), dropped={"x": 1})], 10.0)
    assert (loads.rows, loads.left_out) == (3, 4)
    assert told(loads, 10.0, proxy="q") == ClusterLoad()
    assert (loads.totals["a", "r/z1"].issued, loads.totals["a", "r/z1"].in_progress) == (4, 1)
    assert loads.dropped == {("a", "x"): 4}
    one.leave()
    other.take([stats("a", z1=(1, 0, 0, 1))], 20.0)
    assert rates(loads, 20.0, proxy="q")["r/z1"][3] == 1


def test_series_are_bounded_whatever_names_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SERIES", 2)
    loads = Loads(10.0)
    reporter = loads.join("p", 0.0)
    for number in range(100):
        reporter.take([stats(f"c{number}", z1=(1, 1, 0, 0), dropped={"x": 1}), stats("l" * 5000, z1=(1, 1, 0, 0), dropped={"x": 1})], 10.0)
    assert set(loads.totals) == {("c0", "r/z1"), (OTHER, "")}
    assert sum(total.issued for total in loads.totals.values()) == 200
    assert len(loads.dropped) <= 3
    assert loads.dropped.total() == 200
    assert all(len(cluster) < 5000 for cluster, _ in (*loads.totals, *loads.dropped))


REPORTS = st.lists(
    st.tuples(
        st.sampled_from("pq"),
        st.dictionaries(
            st.sampled_from("ab"), st.dictionaries(st.sampled_from(("z1", "z2")), st.tuples(*[st.integers(0, 50)] * 4)), max_size=2
        ),
        st.sampled_from((0.0, 5.0, 10.0, 40.0)),
        st.booleans(),
    ),
    max_size=25,
)


@given(REPORTS)
def test_sums_never_go_down_rows_are_counted_right_and_nothing_is_left_at_the_end(
    reports: list[tuple[str, dict[str, dict[str, Counts]], float, bool]],
) -> None:
    loads = Loads(10.0)
    open_streams = {name: loads.join(name, 0.0) for name in "pq"}
    expected: dict[tuple[str, str], int] = {}
    now = 0.0
    for name, clusters, seconds, again in reports:
        now += seconds
        report = {cluster: stats(cluster, seconds) for cluster in clusters}
        for cluster, zones in clusters.items():
            for zone, counts in zones.items():
                add(report[cluster], zone, counts)
        open_streams[name].take(report.values(), now)
        for cluster, zones in clusters.items():
            for zone, counts in zones.items():
                key = (cluster, f"r/{zone}")
                expected[key] = expected.get(key, 0) + counts[0]
        if again:
            open_streams[name].leave()
            open_streams[name] = loads.join(name, now)
        held = [one._rows for one in open_streams.values()]
        assert loads.rows == sum(map(len, held))
        assert {key: total.issued for key, total in loads.totals.items()} == expected
        for key, total in loads.totals.items():
            assert total.in_progress == sum(rows[key].in_progress for rows in held if key in rows)
    for reporter in open_streams.values():
        reporter.leave()
    assert (loads.rows, loads.reporters) == (0, 0)
    assert all(total.in_progress == 0 for total in loads.totals.values())
