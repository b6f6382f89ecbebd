"""A case in YAML: a configuration, the objects of several clusters and some Nodes, read by the very code that reads a user's."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec.structs import replace

from steersman.cli.node import read_node
from steersman.cli.offline import Offline, offline
from steersman.model.clusters import OutagePolicy
from steersman.model.facts import Origin, Resolved, Upsert
from steersman.model.ids import ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.model.removals import HeldRemoval, held_slice
from steersman.registry.collections import SLICES
from tests.support.mesh import outage


class Case(NamedTuple):
    """A settled mesh with its proxies connected, by the names that the case gives them. `services`: those that it is about."""

    mesh: Offline
    proxies: dict[str, Proxy]
    services: list[str]


def read_case(file: Path) -> dict[str, Any]:
    """A case, laid over its base, if it names one: `config` is merged deeply, `nodes` and the rest by key; an object replaces the base's of
    equal kind, namespace and name, and removes it where it has nothing but those."""
    case: dict[str, Any] = yaml.safe_load(file.read_text())
    if "base" not in case:
        return case
    base = read_case(file.parent / "base" / f"{case['base']}.yaml")
    merged = {**base, **case, "config": _merged(base["config"], case.get("config", {}))}
    merged["nodes"] = case.get("nodes") or base["nodes"]
    merged["objects"] = {
        cluster: _laid_over(base["objects"].get(cluster, []), case.get("objects", {}).get(cluster, []))
        for cluster in {**base["objects"], **case.get("objects", {})}
    }
    return merged


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(base)
    for key, value in over.items():
        found[key] = _merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
    return found


def _laid_over(base: list[dict[str, Any]], over: list[dict[str, Any]]) -> list[dict[str, Any]]:
    objects = {_name(one): one for one in (*base, *over)}
    return [one for one in objects.values() if set(one) - {"apiVersion", "kind", "metadata"} or one["kind"] in ("Namespace", "Node")]


def _name(one: dict[str, Any]) -> tuple[str, str, str]:
    return (one["kind"], one["metadata"].get("namespace", "default"), one["metadata"]["name"])


def load_case(file: Path, directory: Path) -> Case:
    """Writes the case as files into that directory, and reads them. `outages`: what holds for clusters whose API is silent. `held`: what a
    removal guard holds, by the Service's cluster/namespace/name."""
    case = read_case(file)
    config = case["config"]
    for cluster in config["clusters"]:
        cluster["files"] = cluster["name"]
        objects = directory / cluster["name"]
        objects.mkdir()
        (objects / "objects.yaml").write_text(yaml.safe_dump_all(case["objects"].get(cluster["name"], [])))
    (directory / "steersman.yaml").write_text(yaml.safe_dump(config))
    mesh = offline(str(directory / "steersman.yaml"))
    for hostname, addresses in case.get("resolved", {}).items():
        answer = Resolved(addresses=tuple(addresses))
        mesh.pipeline.apply([Upsert(kind=Kind.RESOLVED, key=hostname, value=answer, origin=Origin(source="dns"))])
    for cluster, policy in case.get("outages", {}).items():
        mesh.pipeline.apply([outage(cluster, OutagePolicy(policy))])
    for service, held in case.get("held", {}).items():
        mesh.pipeline.apply(_held(mesh, ObjectKey(*service.split("/")), **held))
    proxies = {}
    for name, node in case["nodes"].items():
        node_file = directory / "node.yaml"
        node_file.write_text(yaml.safe_dump(node))
        proxies[name] = read_node(node_file)
        mesh.connect(proxies[name])
    return Case(mesh, proxies, case.get("services", ["reviews.default"]))


def _held(mesh: Offline, service: ObjectKey, slice_name: str, addresses: list[str], pods: list[str]) -> list[Upsert]:
    """What a guard tells of a Service whose slice of this name lists these addresses no longer, and of whose Pods a list lacks some."""
    origin = Origin(source=service.cluster)
    key = ObjectKey(service.cluster, service.namespace, slice_name)
    before = mesh.pipeline.graph.ask(SLICES, key)
    assert before is not None
    kept, lost = (tuple(one for one in before.endpoints if (one.address in addresses) is gone) for gone in (False, True))
    slices = (before.listing(kept), replace(before.listing(lost), key=held_slice(key, service.name)))
    count = len(lost) + len(pods)
    held = HeldRemoval(
        object=ObjectRef(Kind.SERVICE, service),
        count=count,
        before=len(before.endpoints),
        since=1_700_000_000.0,
        until=1_700_000_300.0,
        cause=f"{count} of its {len(before.endpoints)} endpoints were lost in a list that was read anew",
        pods=frozenset(ObjectKey(service.cluster, service.namespace, pod) for pod in pods),
    )
    return [
        *(Upsert(kind=Kind.ENDPOINT_SLICE, key=one.key, value=one, origin=origin) for one in slices),
        Upsert(kind=Kind.HELD_REMOVAL, key=held.object, value=held, origin=origin),
    ]
