"""Labs of a few lines, written where a test says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from steersman.lab.labfile import LabFile, read_lab
from steersman.lab.manifests import Manifests, read_manifests

Object = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
TWO_NETWORKS = REPOSITORY / "config" / "labs" / "two-networks.yaml"


def pod(name: str, *, app: str = "", namespace: str = "default", sidecar: bool = True, node: str = "n1", **labels: str) -> Object:
    """A pod with the stand-in `details`, whose one port is called http."""
    containers: list[Object] = [{"name": "app", "image": "bookinfo/details:v1", "ports": [{"name": "http", "containerPort": 9080}]}]
    if sidecar:
        containers.append({"name": "istio-proxy", "image": "envoyproxy/envoy:v1.40.0", "args": ["proxy", "sidecar"]})
    meta = {"name": name, "namespace": namespace, "labels": {"app": app or name, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": containers}}


def service(name: str, *, namespace: str = "default", selector: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A Service of port 80 to the port called http."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": selector or {"app": name}, "ports": ports} | spec}


def node(name: str, zone: str) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}


def write_lab(directory: Path, clusters: Mapping[str, list[Object]], *, network_of: Mapping[str, str] | None = None, **lab: Any) -> Path:
    """A lab file with these clusters, each on the network that `network_of` says, else on one of its own name."""
    configured = []
    for name, objects in clusters.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / name / "all.yaml").write_text(yaml.safe_dump_all(objects))
        configured.append({"name": name, "network": (network_of or {}).get(name, f"network-{name}"), "files": name})
    file = directory / "lab.yaml"
    file.write_text(yaml.safe_dump({"config": {"clusters": configured}, "lab": lab}))
    return file


def read(file: Path) -> tuple[LabFile, tuple[Manifests, ...]]:
    lab = read_lab(file)
    return lab, tuple(read_manifests(cluster.name, cluster.manifests) for cluster in lab.clusters)
