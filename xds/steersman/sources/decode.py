"""Kubernetes' JSON -> model rows, in two stages: apiVersion and kind choose, then only the fields that are used are decoded.

Nothing here knows where the JSON came from: a file, or a cluster's API.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from steersman.errors import InvalidObject
from steersman.model.facts import Severity, object_name
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind, Row
from steersman.sources import shapes
from steersman.sources.blocks import Blocks
from steersman.sources.endpointslice import endpoint_slice_of
from steersman.sources.gateway import gateway_of
from steersman.sources.report import Complaint, Report
from steersman.sources.service import service_of
from steersman.sources.workload import namespace_of, node_of, pod_of


class Decoded(Row, frozen=True, kw_only=True):
    """One object of a kind that is used. `value`: None for an object that says nothing (an imported slice, or one of hostnames).
    `blocks`: of an EndpointSlice's entries, as far as they are known (see Written)."""

    kind: Kind
    key: ObjectKey
    value: Any
    created: str = ""
    uid: str = ""
    resource_version: str = ""
    complaints: tuple[Complaint, ...] = ()
    blocks: Blocks | None = None


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
    """`flatten`: makes the row of what was decoded, and says what is known of its text for the next time."""

    kind: Kind
    namespaced: bool
    shape: type[shapes.Object]
    decode: Callable[[bytes | msgspec.Raw], Any]
    flatten: Callable[[ObjectKey, Any, Report], tuple[Row | None, Blocks | None]]


def _reading(
    kind: Kind, shape: type[shapes.Object], flatten: Callable[[ObjectKey, Any, Report], Row | None], *, namespaced: bool = True
) -> _Reading:
    """Of a kind that is always read in full."""

    def in_full(key: ObjectKey, read: Any, report: Report) -> tuple[Row | None, None]:
        return flatten(key, read, report), None

    return _Reading(kind, namespaced, shape, msgspec.json.Decoder(shape).decode, in_full)


_GATEWAY = _reading(Kind.GATEWAY, shapes.Gateway, gateway_of)
_SLICE = _Reading(Kind.ENDPOINT_SLICE, True, shapes.EndpointSlice, msgspec.json.Decoder(shapes.EndpointSlice).decode, endpoint_slice_of)
_READINGS = {
    ("v1", "Service"): _reading(Kind.SERVICE, shapes.Service, service_of),
    ("v1", "Pod"): _reading(Kind.POD, shapes.Pod, pod_of),
    ("v1", "Node"): _reading(Kind.NODE, shapes.Node, node_of, namespaced=False),
    ("v1", "Namespace"): _reading(Kind.NAMESPACE, shapes.Namespace, namespace_of, namespaced=False),
    ("discovery.k8s.io/v1", "EndpointSlice"): _SLICE,
    ("networking.istio.io/v1", "Gateway"): _GATEWAY,
    ("networking.istio.io/v1beta1", "Gateway"): _GATEWAY,
    ("networking.istio.io/v1alpha3", "Gateway"): _GATEWAY,
}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_anonymous = msgspec.json.Decoder(shapes.Anonymous)


Body = bytes | msgspec.Raw | shapes.Object
"""An object: its JSON, or that decoded to its kind's shape."""


def shape_of(api_version: str, kind: str) -> type[shapes.Object]:
    """What objects of a kind that is used are decoded to."""
    return _READINGS[api_version, kind].shape


def decode(cluster: ClusterID, api_version: str, kind: str, body: Body) -> Decoded | Ignored:
    """The row of this object. Raises InvalidField, which names the object and the field."""
    reading = _READINGS.get((api_version, kind))
    if reading is None:
        if not api_version or not kind:
            missing = "kind" if not kind else "apiVersion"
            raise InvalidField(_name_of(cluster, kind or "object", body), missing, "expected a text, such as v1 and Service")
        return Ignored(api_version=api_version, kind=kind, instead=_other_version(api_version, kind))
    try:
        shape = body if isinstance(body, shapes.Object) else reading.decode(body)
        key = _key(cluster, shape.metadata, reading)
        report = Report()
        value, blocks = reading.flatten(key, shape, report)
    except msgspec.ValidationError as error:
        raise InvalidField(_name_of(cluster, kind, body), *_place(str(error), body)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidField(_name_of(cluster, kind, body), "", f"expected JSON in UTF-8: {error}") from error
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
        blocks=blocks,
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
    return ObjectKey(cluster, _namespace(metadata.namespace or "default") if reading.namespaced else "", name)


@lru_cache(maxsize=1 << 12)
def _namespace(name: str) -> str:
    """The same text for all of it: very many objects share few."""
    if not _LABEL_NAME.fullmatch(name):
        raise InvalidObject(f"metadata.namespace: expected a lower-case DNS label, got {name!r}")
    return name


def _name_of(cluster: ClusterID, kind: str, body: Body) -> str:
    """What to call an object that can't be decoded; as much of its name as can be read."""
    try:
        anonymous = body if isinstance(body, shapes.Object) else _anonymous.decode(body)
        metadata: shapes.Metadata = anonymous.metadata or shapes.Metadata()
    except (msgspec.DecodeError, UnicodeDecodeError):
        metadata = shapes.Metadata()
    key = ObjectKey(cluster, metadata.namespace or "", metadata.name or "?")
    return object_name(Kind(kind), key) if kind in Kind.__members__.values() else f"{kind} {key}"


_TOKEN = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def _place(message: str, body: Body) -> tuple[str, str]:
    """(path, what was expected) of msgspec's message. It writes `[...]` for a value in a map; the first that is no text is meant. (What is
    wrong with a part of a shape is never in a map.)"""
    expected, _, path = message.partition(" - at `$")
    expected = expected[:1].lower() + expected[1:]
    parts: list[str] = []
    value: Any = None if isinstance(body, shapes.Object) else msgspec.json.decode(body)
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
