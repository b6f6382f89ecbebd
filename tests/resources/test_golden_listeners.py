"""Golden cases: a configuration with its objects and a Node in, the listeners and routes of that proxy out."""

import json
from pathlib import Path

import pytest
import yaml

from steersman.admin.protojson import as_dict, message_of
from steersman.cli.node import read_node
from steersman.cli.offline import offline
from steersman.names import LDS, RDS

CASES = Path(__file__).parent / "listeners"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_listeners_and_routes(case: str, *, update_golden: bool) -> None:
    directory = CASES / case
    proxy = read_node(directory / "node.yaml")
    mesh = offline(str(directory / "steersman.yaml"))
    mesh.connect(proxy)
    served = {
        name: [as_dict(message_of(type_url, resource.body)) for resource in mesh.served(proxy, [type_url])[type_url]]
        for name, type_url in (("listeners", LDS), ("routes", RDS))
    }
    found = json.loads(json.dumps(served))
    expected = directory / "expected.yaml"
    if update_golden:
        expected.write_text(yaml.safe_dump(found, sort_keys=False, width=140))
    assert yaml.safe_load(expected.read_text()) == found
