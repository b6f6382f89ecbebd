"""Kubernetes' JSON -> model rows, in two stages: apiVersion and kind choose, then only the fields that are used are decoded.

Nothing here knows where the JSON came from: a file, or a cluster's API.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from steersman.errors import InvalidObject
from steersman.model.facts import Severity, object_name
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind, Row
from steersman.sources import shapes
from steersman.sources.endpointslice import endpoint_slice_of
from steersman.sources.gateway import gateway_of
from steersman.sources.report import Complaint, Report
from steersman.sources.service import service_of
from steersman.sources.workload import namespace_of, node_of, pod_of


class Decoded(Row, frozen=True, kw_only=True):
    """One object of a kind that is used. `value`: None for an object that says nothing (an imported slice, or one of hostnames)."""

    kind: Kind
    key: ObjectKey
    value: Any
    created: str = ""
    uid: str = ""
    resource_version: str = ""
    complaints: tuple[Complaint, ...] = ()


class Ignored(Row, frozen=True, kw_only=True):
    """An object of a kind that is not used. `instead`: the apiVersion in which the kind is used, if any."""

    api_version: str
    kind: str
    instead: str = ""


class InvalidField(InvalidObject):
    """An object whose field `path` is not as `expected`. `object`: as findings name it."""

    def __init__(self, name: str, path: str, expected: str) -> None:
        self.object = name
        self.path = path
        self.expected = expected
        super().__init__(f"{name}: {path}: {expected}" if path else f"{name}: {expected}")


class _Reading(NamedTuple):
    kind: Kind
    namespaced: bool
    decode: Callable[[bytes | msgspec.Raw], Any]
    flatten: Callable[[ObjectKey, Any, Report], Row | None]


def _reading(
    kind: Kind, shape: type[shapes.Shape], flatten: Callable[[ObjectKey, Any, Report], Row | None], *, namespaced: bool = True
) -> _Reading:
    return _Reading(kind, namespaced, msgspec.json.Decoder(shape).decode, flatten)


_GATEWAY = _reading(Kind.GATEWAY, shapes.Gateway, gateway_of)
_READINGS = {
    ("v1", "Service"): _reading(Kind.SERVICE, shapes.Service, service_of),
    ("v1", "Pod"): _reading(Kind.POD, shapes.Pod, pod_of),
    ("v1", "Node"): _reading(Kind.NODE, shapes.Node, node_of, namespaced=False),
    ("v1", "Namespace"): _reading(Kind.NAMESPACE, shapes.Namespace, namespace_of, namespaced=False),
    ("discovery.k8s.io/v1", "EndpointSlice"): _reading(Kind.ENDPOINT_SLICE, shapes.EndpointSlice, endpoint_slice_of),
    ("networking.istio.io/v1", "Gateway"): _GATEWAY,
    ("networking.istio.io/v1beta1", "Gateway"): _GATEWAY,
    ("networking.istio.io/v1alpha3", "Gateway"): _GATEWAY,
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_anonymous = msgspec.json.Decoder(shapes.Anonymous)


def decode(cluster: ClusterID, api_version: str, kind: str, body: bytes | msgspec.Raw) -> Decoded | Ignored:
    """The row of the object in this JSON. Raises InvalidField, which names the object and the field."""
    reading = _READINGS.get((api_version, kind))
    if reading is None:
        if not api_version or not kind:
            missing = "kind" if not kind else "apiVersion"
            raise InvalidField(_name_of(cluster, kind or "object", body), missing, "expected a text, such as v1 and Service")
        return Ignored(api_version=api_version, kind=kind, instead=_other_version(api_version, kind))
    try:
        shape = reading.decode(body)
        key = _key(cluster, shape.metadata, reading)
        report = Report()
        value = reading.flatten(key, shape, report)
    except msgspec.ValidationError as error:
        raise InvalidField(_name_of(cluster, kind, body), *_place(str(error), body)) from error
    except InvalidObject as error:
        path, _, expected = str(error).partition(": ")
        raise InvalidField(_name_of(cluster, kind, body), path, expected) from error
    metadata: shapes.Metadata = shape.metadata
    return Decoded(
        kind=reading.kind,
        key=key,
        value=value,
        created=metadata.creation_timestamp or "",
        uid=metadata.uid or "",
        resource_version=metadata.resource_version or "",
        complaints=report.complaints(),
    )


def invalid(error: InvalidField) -> Complaint:
    """How a source reports an object that it has to leave out."""
    at = f"{error.path}: " if error.path else ""
    return Complaint(
        id="invalid-object",
        severity=Severity.ERROR,
        cause=f"{at}{error.expected}; the object is left out",
        remedy="mend the field; `kubectl apply --dry-run=server` names such mistakes too",
    )


def _other_version(api_version: str, kind: str) -> str:
    """The version in which this kind of this group is used, where it is."""
    group = api_version.rpartition("/")[0]
    return next((version for version, name in _READINGS if name == kind and version.rpartition("/")[0] == group), "")


def _key(cluster: ClusterID, metadata: shapes.Metadata, reading: _Reading) -> ObjectKey:
    """An object without a namespace is in `default`, as kubectl would put it there. Names go into cluster names: none may surprise."""
    name = metadata.name or ""
    if not (_LABEL_NAME if reading.kind is Kind.SERVICE else _NAME).fullmatch(name):
        raise InvalidObject(f"metadata.name: expected a lower-case DNS name, got {name!r}")
    namespace = (metadata.namespace or "default") if reading.namespaced else ""
    if namespace and not _LABEL_NAME.fullmatch(namespace):
        raise InvalidObject(f"metadata.namespace: expected a lower-case DNS label, got {namespace!r}")
    return ObjectKey(cluster, namespace, name)


def _name_of(cluster: ClusterID, kind: str, body: bytes | msgspec.Raw) -> str:
    """What to call an object that can't be decoded; as much of its name as can be read."""
    try:
        metadata = _anonymous.decode(body).metadata or shapes.Metadata()
    except msgspec.ValidationError:
        metadata = shapes.Metadata()
    key = ObjectKey(cluster, metadata.namespace or "", metadata.name or "?")
    return object_name(Kind(kind), key) if kind in Kind.__members__.values() else f"{kind} {key}"


_TOKEN = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def _place(message: str, body: bytes | msgspec.Raw) -> tuple[str, str]:
    """(path, what was expected) of msgspec's message. It writes `[...]` for a value in a map; the first that is no text is meant."""
    expected, _, path = message.partition(" - at `$")
    expected = expected[:1].lower() + expected[1:]
    parts: list[str] = []
    value: Any = msgspec.json.decode(body)
    for match in _TOKEN.finditer(path.rstrip("`")):
        name, index = match.groups()
        if name is not None:
            parts.append(f".{name}")
            value = value.get(name) if isinstance(value, dict) else None
        elif index == "...":
            key = next((key for key, item in value.items() if not isinstance(item, str)), "") if isinstance(value, dict) else ""
            parts.append(f"[{key}]")
            value = None
        else:
            parts.append(f"[{index}]")
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    return "".join(parts).removeprefix("."), expected
