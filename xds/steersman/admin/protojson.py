"""Protobuf messages as proto3 JSON with original field names: how resources are shown, by render, by the commands and under /debug/."""

import importlib
import importlib.util
import pkgutil
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from steersman import names
from steersman.resources.secrets import redacted


class _Pool:
    """Message types by full name, Envoy's modules being imported when one of their types turns up: there are 700 of them."""

    def FindMessageTypeByName(self, full_name: str) -> Descriptor:  # noqa: N802 (the pool's interface)
        """Raises KeyError for a type that no module defines."""
        pool = descriptor_pool.Default()
        try:
            return pool.FindMessageTypeByName(full_name)
        except KeyError:
            _import_package(full_name.rpartition(".")[0])
        return pool.FindMessageTypeByName(full_name)


POOL = _Pool()


def _import_package(name: str) -> None:
    """Imports the generated modules of a protobuf package; a nested type's package is found by leaving out the enclosing types."""
    while name:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is not None and spec.submodule_search_locations:
            for module in pkgutil.iter_modules(spec.submodule_search_locations):
                if module.name.endswith("_pb2"):
                    importlib.import_module(f"{name}.{module.name}")
            return
        name = name.rpartition(".")[0]


def message_of(type_url: str, body: bytes) -> Message:
    """The resource with this type and these bytes, its private keys redacted."""
    descriptor = POOL.FindMessageTypeByName(type_url.rpartition("/")[2])
    message = message_factory.GetMessageClass(descriptor).FromString(body)
    return redacted(message) if type_url == names.SDS else message


def as_dict(message: Message) -> dict[str, Any]:
    """The message in proto3 JSON: original field names, what has its default value left out, and maps sorted by key, since the runtime has
    them in another order in every process."""
    value: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        descriptor_pool=POOL,  # type: ignore[arg-type]  # only this method is called on it
    )
    ordered: dict[str, Any] = _ordered(value, message.DESCRIPTOR)
    return ordered


_JSON = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")
_ANY = "google.protobuf.Any"


def _ordered(value: Any, kind: Any) -> Any:
    """A message's JSON with its maps sorted."""
    if kind.full_name in _JSON:
        return _sorted(value)
    if kind.full_name == _ANY and isinstance(value, dict) and "@type" in value:
        inner = POOL.FindMessageTypeByName(value["@type"].rpartition("/")[2])
        return {"@type": value["@type"], **_ordered({name: part for name, part in value.items() if name != "@type"}, inner)}
    if not isinstance(value, dict):
        return value
    fields = kind.fields_by_name
    return {name: _field(part, fields[name]) if name in fields else part for name, part in value.items()}


def _field(value: Any, field: Any) -> Any:
    kind = field.message_type
    if kind is None:
        return value
    if kind.GetOptions().map_entry:
        held = kind.fields_by_name["value"].message_type
        return {name: value[name] if held is None else _ordered(value[name], held) for name in sorted(value)}
    return [_ordered(part, kind) for part in value] if field.is_repeated else _ordered(value, kind)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(part) for part in value] if isinstance(value, list) else value
