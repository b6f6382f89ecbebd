"""Texts of small Kubernetes objects."""

import json
from typing import Any

import yaml


def pod(name: str, ip: str = "10.0.0.1", *, created: str = "", namespace: str = "ns", **meta: Any) -> dict[str, Any]:
    stamp = {"creationTimestamp": created} if created else {}
    metadata = {"name": name, "namespace": namespace, **stamp, **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIPs": [{"ip": ip}]}}


def documents(*objects: Any) -> str:
    return str(yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False))


def listed(*objects: Any) -> str:
    return str(yaml.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, Dumper=yaml.CSafeDumper, sort_keys=False))


def as_json(*objects: Any) -> str:
    if len(objects) == 1:
        return json.dumps(objects[0])
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}, indent=1)
