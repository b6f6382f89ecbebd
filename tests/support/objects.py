"""Kubernetes objects as `kubectl get -o yaml` prints them, and directories of them that change as a cluster does."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

Object = dict[str, Any]

NAMESPACE = "demo"
MTLS = {"security.istio.io/tlsMode": "istio"}
NETWORK = "topology.istio.io/network"


def service(name: str, ports: Mapping[str, tuple[int, int]], *, ip: str | None = None, namespace: str = NAMESPACE, **spec: Any) -> Object:
    """`ports`: port and targetPort by name. `ip`: the clusterIP."""
    listed = [{"name": title, "port": port, "targetPort": target, "protocol": "TCP"} for title, (port, target) in ports.items()]
    shown = {"ports": listed, "selector": {"app": name}, **({"clusterIP": ip} if ip else {}), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": shown}


def pod(
    name: str,
    ip: str,
    *,
    app: str = "",
    account: str = "",
    labels: Mapping[str, str] | None = None,
    node: str = "",
    ready: bool = True,
    namespace: str = NAMESPACE,
) -> Object:
    """`app`: the label that services select by; by default the name up to its last dash, which is also the service account."""
    app = app or name.rpartition("-")[0]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app, **(MTLS if labels is None else labels)}},
        "spec": {"serviceAccountName": account or app, **({"nodeName": node} if node else {})},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def endpoint(pod_name: str, ip: str, *, ready: bool = True, namespace: str = NAMESPACE) -> Object:
    """An entry of an EndpointSlice."""
    return {
        "addresses": [ip],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name},
    }


def slice_of(
    service_name: str, ports: Mapping[str, int], endpoints: Sequence[Object], *, suffix: str = "1", namespace: str = NAMESPACE
) -> Object:
    """An EndpointSlice. `ports`: target ports by name."""
    labels = {"kubernetes.io/service-name": service_name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service_name}-{suffix}", "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
        "endpoints": list(endpoints),
    }


def eastwest(network: str, address: str, port: int) -> Object:
    """The Service that makes this address the gateway of a network."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "eastwest", "namespace": "istio-system", "labels": {NETWORK: network}},
        "spec": {"type": "LoadBalancer", "selector": {"app": "eastwest"}, "ports": [{"name": "tls", "port": port, "targetPort": port}]},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


def passthrough(bind: str, port: int) -> Object:
    """The Gateway by which the pods of `eastwest` let in what comes from other networks; `bind`: their address."""
    server = {
        "port": {"number": port, "name": "tls", "protocol": "TLS"},
        "bind": bind,
        "hosts": ["*.local"],
        "tls": {"mode": "AUTO_PASSTHROUGH"},
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "cross-network", "namespace": "istio-system"},
        "spec": {"selector": {"app": "eastwest"}, "servers": [server]},
    }


def node(name: str, region: str, zone: str) -> Object:
    labels = {"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def as_yaml(objects: Iterable[Object]) -> str:
    return str(yaml.dump_all(list(objects), Dumper=yaml.CSafeDumper, sort_keys=False))


def as_json(objects: Iterable[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


class Objects(Protocol):
    """A cluster's objects, which are changed together by what holds them: a file, or what stands for one."""

    def put(self, file: str, *objects: Object) -> None: ...


class Directory:
    """A cluster's directory. Files are replaced by rename, as tools do that care."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count()
        path.mkdir(parents=True, exist_ok=True)

    def put(self, file: str, *objects: Object) -> None:
        """The file holds these from now on. Its name says whether it is YAML or JSON."""
        self.write(file, as_json(objects) if file.endswith(".json") else as_yaml(objects))

    def write(self, file: str, text: str) -> None:
        self.stage(file, text).rename(self.path / file)

    def stage(self, file: str, text: str) -> Path:
        """What is to be renamed to that file, beside it."""
        staged = self.path / f".{next(self._numbers)}.{file}"
        staged.write_text(text)
        return staged

    def remove(self, file: str) -> None:
        (self.path / file).unlink()
