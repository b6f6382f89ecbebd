"""Split horizon as a user meets it: a configuration and Kubernetes objects in, what each proxy is sent and why out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steersman.admin.protojson import as_dict, message_of
from steersman.explain.explain import explain
from steersman.explain.explanation import Candidate, Explanation, PortExplanation
from steersman.explain.service_names import service_named
from steersman.model.mesh import Rule
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS
from tests.support.cases import Case, load_case
from tests.support.golden import as_yaml, compare, stale

CASES = Path(__file__).resolve().parents[1] / "goldens" / "split_horizon"
OUT = CASES / "out"
PAGE = CASES.parents[2] / "docs" / "split-horizon.md"
NAMES = sorted(file.stem for file in CASES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_and_why_is_as_reviewed(name: str, tmp_path: Path, update_golden: bool) -> None:
    case = load_case(CASES / f"{name}.yaml", tmp_path)
    told = {proxy_name: shown(case, proxy) for proxy_name, proxy in case.proxies.items()}
    compare(OUT / f"{name}.yaml", as_yaml(told), update=update_golden)


def test_no_golden_file_is_of_no_case(update_golden: bool) -> None:
    assert stale(OUT, NAMES, update=update_golden) == []


@pytest.mark.parametrize("rule", Rule)
def test_every_outcome_is_documented_and_has_a_golden_case(rule: Rule) -> None:
    assert f"`{rule}`" in PAGE.read_text()
    reviewed = "".join(file.read_text() for file in OUT.glob("*.yaml"))
    assert re.search(rf"(in|out): [^\n]*: {rule}[, '(]", reviewed)


def shown(case: Case, proxy: Proxy) -> dict[str, Any]:
    """Where a proxy stands, and for each port of the case's services what it is sent and what became of every candidate."""
    graph = case.mesh.pipeline.graph
    served = case.mesh.served(proxy, [CDS, EDS])
    clusters, assignments = ({one.name: as_dict(message_of(url, one.body)) for one in served[url]} for url in (CDS, EDS))
    told: dict[str, Any] = {}
    for service in case.services:
        key = service_named(graph.ask, service).service
        explained = explain(graph.ask, proxy.id, key)
        told.setdefault("stands", stands(explained))
        for note in explained.notes:
            told.setdefault("notes", []).append(f"{explained.service}: {note}")
        for port in explained.ports:
            told[port.cluster] = {
                "sent": list(_groups(assignments[port.cluster])) if port.cluster in assignments else "nothing",
                "identities": sorted(set(_sans(clusters.get(port.cluster)))),
                "why": list(_reasons(port)),
            }
    return told


def stands(explained: Explanation) -> dict[str, Any]:
    at = explained.standpoint
    return {"network": at.network, "cluster": at.cluster, "families": list(at.families), "inferred": list(at.inferred)}


def _groups(assignment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in assignment.get("endpoints", []):
        yield {
            "locality": "/".join(group.get("locality", {}).get(part, "") for part in ("region", "zone", "sub_zone")).rstrip("/"),
            **({"priority": group["priority"]} if "priority" in group else {}),
            "weight": group["load_balancing_weight"],
            "endpoints": [_endpoint(one) for one in group["lb_endpoints"]],
        }


def _endpoint(one: dict[str, Any]) -> str:
    at = one["endpoint"]["address"]["socket_address"]
    metadata = one["metadata"]["filter_metadata"]
    secure = "mTLS" if "envoy.transport_socket_match" in metadata else "plaintext"
    network = metadata.get("istio", {}).get("network")
    health = "" if one["health_status"] == "HEALTHY" else f", {one['health_status']}"
    gateway = f", gateway of {network}" if network else ""
    return f"{at['address']} {at['port_value']}, weight {one['load_balancing_weight']}, {secure}{gateway}{health}"


def _sans(value: Any) -> Iterator[str]:
    """Who may answer, wherever it stands in the cluster."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key == "match_typed_subject_alt_names":
                yield from (one["matcher"]["exact"] for one in part)
            else:
                yield from _sans(part)
    elif isinstance(value, list):
        for part in value:
            yield from _sans(part)


def _reasons(port: PortExplanation) -> Iterator[str]:
    yield from (_reason(candidate) for candidate in port.candidates)
    yield from (f"note: {note}" for note in port.notes)


def _reason(one: Candidate) -> str:
    at = f"{one.address} {one.port}" if one.port else one.address
    because = f", by {', '.join(reference.object for reference in one.because)}" if one.because else ""
    note = f" ({one.note})" if one.note else ""
    verdict = "in" if one.admitted else "out"
    return f"{verdict}: {at} {one.pod or one.source.object} on {one.network or 'no network'}: {one.rule}{because}{note}"
