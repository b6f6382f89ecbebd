"""What an API server sends, written short."""

import json
from typing import Any

from steersman.sources.kube.resources import RESOURCES, Resource

Object = dict[str, Any]


def resource(name: str) -> Resource:
    """The one of this plural."""
    return next(one for one in RESOURCES if one.plural == name)


def pod(name: str, version: int, *, uid: str = "", ip: str = "10.0.0.1") -> Object:
    """A Pod as it stands in a list or an event."""
    metadata = {"name": name, "namespace": "ns", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "status": {"podIPs": [{"ip": ip}]}}


def page(*items: Object, version: int = 10, more: str = "") -> bytes:
    metadata: Object = {"resourceVersion": str(version), **({"continue": more, "remainingItemCount": 1} if more else {})}
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": list(items)}).encode()


def event(kind: str, body: Object) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode()


def bookmark(version: int, *, end: bool = False) -> bytes:
    metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return event("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": None}, "status": {}})


def status(code: int, message: str = "", **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, **more}).encode()


def error(code: int, message: str = "", **more: Any) -> bytes:
    return event("ERROR", json.loads(status(code, message, **more)))


def groups(**versions: list[str]) -> bytes:
    """The answer of /apis; `istio`: versions of networking.istio.io."""
    named = {"apps": ["v1"], **({"networking.istio.io": versions["istio"]} if versions.get("istio") else {})}
    listed = [{"name": name, "versions": [{"groupVersion": f"{name}/{one}", "version": one} for one in of]} for name, of in named.items()]
    return json.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}).encode()


def served(*plurals: str) -> bytes:
    """The answer of /apis/GROUP/VERSION."""
    return json.dumps({"kind": "APIResourceList", "groupVersion": "x/v1", "resources": [{"name": one} for one in plurals]}).encode()
