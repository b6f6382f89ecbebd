"""Resources as a user meets them: a configuration and Kubernetes objects in, what each proxy is sent out; and real Envoy takes it all."""

from pathlib import Path
from typing import Any

import pytest

from steersman.admin.protojson import as_dict, message_of
from steersman.graph import Graph
from steersman.model.facts import Origin, Upsert
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS, LDS, SDS, SHORT_TYPES
from steersman.registry.collections import LEAVES
from tests.support.cases import Case, load_case, read_case
from tests.support.golden import as_yaml, compare, stale
from tests.support.loading import load
from tests.support.pgv import problems
from tests.support.pki import Authority

CASES = Path(__file__).resolve().parents[1] / "goldens" / "resources"
OUT = CASES / "out"
NAMES = sorted(file.stem for file in CASES.glob("*.yaml"))
SHOWN = {"clusters": CDS, "endpoints": EDS, "secrets": SDS}
"""Listeners and routes have goldens of their own."""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_is_as_reviewed_and_passes_envoys_rules(name: str, tmp_path: Path, update_golden: bool) -> None:
    case = load_case(CASES / f"{name}.yaml", tmp_path)
    told = {proxy_name: shown(case, proxy) for proxy_name, proxy in case.proxies.items()}
    compare(OUT / f"{name}.yaml", as_yaml(told), update=update_golden)


def test_no_golden_file_is_of_no_case(update_golden: bool) -> None:
    assert stale(OUT, NAMES, update=update_golden) == []


def shown(case: Case, proxy: Proxy) -> dict[str, Any]:
    found: dict[str, Any] = {}
    served = case.mesh.served(proxy, SHOWN.values())
    for word, type_url in SHOWN.items():
        messages = [message_of(type_url, resource.body) for resource in served.get(type_url, ())]
        assert [problem for message in messages for problem in problems(message)] == []
        found[word] = [as_dict(message) for message in messages]
    return found


ENVOYS = [(name, node) for name in NAMES if name != "grpc-client" for node in read_case(CASES / f"{name}.yaml")["nodes"]]


@pytest.mark.envoy
@pytest.mark.netns
@pytest.mark.parametrize(("name", "node"), ENVOYS)
def test_real_envoy_takes_it(name: str, node: str, tmp_path: Path) -> None:
    case = load_case(CASES / f"{name}.yaml", tmp_path)
    proxy = case.proxies[node]
    case.mesh.served(proxy, SHORT_TYPES.values())
    certify(case, proxy)
    served = case.mesh.served(proxy, SHORT_TYPES.values())
    tables = {type_url: {resource.name: resource for resource in resources} for type_url, resources in served.items()}
    loaded = load(tables, node_id=proxy.id, directory=tmp_path)
    assert loaded.refused == []
    assert loaded.rejected == {}
    assert loaded.warming == {}
    assert loaded.clusters == set(tables[CDS])
    assert loaded.listeners == set(tables[LDS])


def certify(case: Case, proxy: Proxy) -> None:
    """Signs what stands in for certificates."""
    authority, origin = Authority(), Origin(source="ca")
    graph: Graph = case.mesh.pipeline.graph
    case.mesh.pipeline.apply([Upsert(kind=Kind.ROOT, key="", value=authority.root, origin=origin)])
    for key in graph.rows(LEAVES):
        case.mesh.pipeline.apply([Upsert(kind=Kind.LEAF, key=key, value=authority.leaf(key.identity), origin=origin)])
