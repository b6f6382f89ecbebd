"""A real Envoy under load at tables that change in every awkward way. The numbers are those of docs/conformance.md."""

from pathlib import Path

import pytest

from steersman.ads.messages import Variant
from tests.support.changes import seed
from tests.support.waves import wave_on

pytestmark = [pytest.mark.envoy, pytest.mark.slow]


@pytest.mark.parametrize("variant", list(Variant))
async def test_c39_c40_no_request_fails_whatever_happens_to_its_route_cluster_and_listener(variant: Variant, tmp_path: Path) -> None:
    report = await wave_on(variant, tmp_path, seed(), most=400, seconds=12)
    print(report)
    assert report.failed == [], report.told()
    assert report.refused == {}
    assert report.count > 30
    assert report.requests > report.count
