"""Listeners and routes as a user meets them: a configuration and Kubernetes objects in, what each proxy listens on out."""

from pathlib import Path

import pytest

from steersman.admin.protojson import as_dict, message_of
from steersman.names import LDS, RDS
from tests.support.cases import load_case
from tests.support.golden import as_yaml, compare, stale

CASES = Path(__file__).resolve().parents[1] / "goldens" / "listeners"
OUT = CASES / "out"
NAMES = sorted(file.stem for file in CASES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_proxy_listens_on_is_as_reviewed(name: str, tmp_path: Path, update_golden: bool) -> None:
    case = load_case(CASES / f"{name}.yaml", tmp_path)
    told = {}
    for proxy_name, proxy in case.proxies.items():
        served = case.mesh.served(proxy, (LDS, RDS))
        told[proxy_name] = {
            word: [as_dict(message_of(type_url, resource.body)) for resource in served[type_url]]
            for word, type_url in (("listeners", LDS), ("routes", RDS))
        }
    compare(OUT / f"{name}.yaml", as_yaml(told), update=update_golden)


def test_no_golden_file_is_of_no_case(update_golden: bool) -> None:
    assert stale(OUT, NAMES, update=update_golden) == []
