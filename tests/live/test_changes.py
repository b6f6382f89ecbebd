"""A running mesh of two networks under load, in which services, ports, protocols, gateways and identities change without a pause. The
numbers are those of docs/conformance.md."""

from pathlib import Path

import pytest

from tests.support.changes import change, changing, seed

pytestmark = [pytest.mark.envoy, pytest.mark.slow]


@pytest.mark.timeout(240)
def test_c39_c40_no_request_fails_and_nothing_is_refused_while_everything_changes(tmp_path: Path) -> None:
    number = seed()
    with changing(tmp_path, number) as world:
        report = change(world, most=400, seconds=35)
    print(report)
    assert report.failed == [], report.told()
    assert report.refused == {}
    assert report.count > 50
    assert report.requests > 10 * report.count
