"""Kubernetes manifests as the lab's kubelet reads them: what is to run, and what it is called."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from steersman.errors import ConfigError
from steersman.model.ids import ClusterID, Locality, ObjectKey
from steersman.names import NETWORK_LABEL, REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL

Object = dict[str, Any]
"""A Kubernetes object as YAML or JSON has it."""

_WITH_SPEC = ("Pod", "Service", "Gateway")
_SUFFIXES = (".yaml", ".yml", ".json")
_PROXY_IMAGE = re.compile(r"(^|/)(envoyproxy/envoy|envoy|istio/proxyv2|proxyv2)([:@]|$)")
_STAND_IN_IMAGE = re.compile(r"(^|/)bookinfo/(?P<app>[a-z]+)(:(?P<version>[\w.-]+))?$")


class Manifests(NamedTuple):
    """The objects of one cluster, in the order of the files' names; `files` says which file each (kind, key) came from."""

    cluster: ClusterID
    objects: tuple[Object, ...]
    files: dict[tuple[str, ObjectKey], Path]

    def of_kind(self, kind: str) -> Iterator[Object]:
        return (found for found in self.objects if found["kind"] == kind)

    def key(self, found: Object) -> ObjectKey:
        return object_key(self.cluster, found)

    def file(self, found: Object) -> Path:
        return self.files[found["kind"], self.key(found)]

    def has_sidecar(self, pod: Object) -> bool:
        return any(isinstance(one, Proxy) and one.role == "sidecar" for one in containers_of(pod, self.file(pod)))

    def locality(self, node: str) -> Locality:
        """Where the Node of this name stands; unknown where there is none."""
        for found in self.of_kind("Node"):
            if found["metadata"]["name"] == node:
                labels = labels_of(found)
                return Locality(labels.get(REGION_LABEL, ""), labels.get(ZONE_LABEL, ""), labels.get(SUBZONE_LABEL, ""))
        return Locality()


class Proxy(NamedTuple):
    """A container that is an Envoy. `role`: sidecar or router, as its arguments say."""

    name: str
    role: str


class Command(NamedTuple):
    """A container that is a command of this machine. `env` as the manifest has it."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]


class StandIn(NamedTuple):
    """A container whose image the lab stands in for with an app of its own."""

    name: str
    app: str
    version: str
    ports: tuple[int, ...]
    env: dict[str, str]


Container = Proxy | Command | StandIn


class Probe(NamedTuple):
    """How to ask whether a container is ready: by HTTP GET where `path` is set, else by connecting. Every `period` seconds, answered within
    `patience` seconds; one that was ready is so no more after `failures` in a row."""

    port: int
    path: str
    period: float = 1.0
    patience: float = 1.0
    failures: int = 3


def object_key(cluster: ClusterID, found: Object) -> ObjectKey:
    meta = found["metadata"]
    namespaced = found["kind"] not in ("Namespace", "Node")
    return ObjectKey(cluster, meta.get("namespace", "default") if namespaced else "", meta["name"])


def labels_of(found: Object) -> dict[str, str]:
    return dict(found["metadata"].get("labels") or {})


def network_of(pod: Object, cluster_network: str) -> str:
    return labels_of(pod).get(NETWORK_LABEL) or cluster_network


def read_manifests(cluster: ClusterID, directory: Path) -> Manifests:
    """Every object of every YAML and JSON file below the directory. Raises ConfigError naming the file, and what is wrong in it."""
    if not directory.is_dir():
        raise ConfigError(str(directory), "", None, f"a directory with the manifests of cluster {cluster}")
    objects: list[Object] = []
    files: dict[tuple[str, ObjectKey], Path] = {}
    for file in sorted(path for path in directory.rglob("*") if path.suffix in _SUFFIXES and path.is_file()):
        for found in _objects(file):
            where = (found["kind"], object_key(cluster, found))
            if where in files:
                raise ConfigError(str(file), f"{found['kind']} {where[1]}", "a second one", f"one; the first is in {files[where]}")
            files[where] = file
            objects.append(found)
    return Manifests(cluster, tuple(objects), files)


def _objects(file: Path) -> Iterator[Object]:
    try:
        documents = list(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise ConfigError(str(file), "", str(broken), "YAML or JSON") from broken
    for document in documents:
        if document is None:
            continue
        listed = document.get("items") if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") else [document]
        for found in listed or []:
            meta = found.get("metadata") if isinstance(found, dict) else None
            if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not isinstance(found.get("kind"), str):
                raise ConfigError(str(file), "", found, "a Kubernetes object with kind and metadata.name")
            if found["kind"] in _WITH_SPEC and not isinstance(found.get("spec"), dict):
                raise ConfigError(str(file), f"{found['kind']} {meta['name']}.spec", found.get("spec"), "a mapping")
            yield found


def containers_of(pod: Object, file: Path) -> tuple[Container, ...]:
    """What the containers of a Pod are to the lab. Raises ConfigError for an image that it can't run, and says what it can."""
    found: list[Container] = []
    place = f"Pod {pod['metadata']['name']}.spec.containers"
    listed = pod["spec"].get("containers")
    if (
        not isinstance(listed, list)
        or not all(isinstance(one, dict) and one.get("name") and one.get("image") for one in listed)
        or not listed
    ):
        raise ConfigError(str(file), place, listed, "a list of containers with name and image")
    for index, container in enumerate(listed):
        name, image = container["name"], container["image"]
        env = {entry["name"]: str(entry.get("value", "")) for entry in container.get("env") or []}
        command = [*(container.get("command") or []), *(container.get("args") or [])]
        stand_in = _STAND_IN_IMAGE.search(image)
        if container.get("command"):
            found.append(Command(name, tuple(map(str, command)), env))
        elif _PROXY_IMAGE.search(image):
            found.append(Proxy(name, "router" if "router" in command else "sidecar"))
        elif stand_in is not None:
            ports = tuple(int(port["containerPort"]) for port in container.get("ports") or [])
            found.append(StandIn(name, stand_in["app"], stand_in["version"] or "v1", ports or (9080,), env))
        else:
            path = f"Pod {pod['metadata']['name']}.spec.containers[{index}].image"
            raise ConfigError(
                str(file), path, image, "bookinfo/APP:VERSION, envoyproxy/envoy, or any image with a `command` that this machine can run"
            )
    if sum(isinstance(container, Proxy) for container in found) > 1:
        raise ConfigError(str(file), place, "several proxies", "at most one")
    return tuple(found)


def probes_of(pod: Object) -> dict[str, Probe]:
    """By container: its readinessProbe, else a connection to its first port; a container with neither is ready while it runs."""
    found = {}
    for container in pod["spec"].get("containers") or []:
        ports = {port.get("name"): int(port["containerPort"]) for port in container.get("ports") or []}
        wanted = container.get("readinessProbe") or {}
        ask = wanted.get("httpGet") or wanted.get("tcpSocket")
        if ask is not None:
            found[container["name"]] = Probe(
                port=target_port(ask["port"], ports),
                path=str(ask.get("path", "/")) if "httpGet" in wanted else "",
                period=float(wanted.get("periodSeconds", 1)),
                patience=float(wanted.get("timeoutSeconds", 1)),
                failures=int(wanted.get("failureThreshold", 3)),
            )
        elif ports:
            found[container["name"]] = Probe(next(iter(ports.values())), "")
    return found


def container_ports(pod: Object) -> dict[str, int]:
    """The named ports of all of its containers."""
    listed = (port for container in pod["spec"].get("containers") or [] for port in container.get("ports") or [])
    return {port["name"]: int(port["containerPort"]) for port in listed if port.get("name")}


def target_port(wanted: int | str, named: dict[Any, int]) -> int:
    """The number of a port that is a number, or the name of one; 0 where no port has that name."""
    return int(wanted) if str(wanted).isdecimal() else named.get(wanted, 0)
