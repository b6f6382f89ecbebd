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
    """The message in proto3 JSON: original field names, and what has its default value left out."""
    value: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        descriptor_pool=POOL,  # type: ignore[arg-type]  # only this method is called on it
    )
    return value
