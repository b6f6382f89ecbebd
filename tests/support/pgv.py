"""The validation rules that Envoy's API files carry (protoc-gen-validate), read from the descriptors and applied to a message.

Envoy applies the same rules when it loads a message, from generated code. Rules that its API does not use (dates, e-mail addresses)
are not here: such a rule is an AssertionError, so that none is passed over in silence.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from validate import validate_pb2

_ANY = "google.protobuf.Any"
_SCALARS = frozenset(validate_pb2.FieldRules.DESCRIPTOR.fields_by_name) - {"message", "repeated", "map", "any", "duration", "timestamp"}
_APPLIED = frozenset((
    *("const", "lt", "lte", "gt", "gte", "in", "not_in", "ignore_empty", "len", "min_len", "max_len", "min_bytes", "max_bytes", "pattern"),
    *("prefix", "suffix", "well_known_regex", "strict", "defined_only", "required", "skip", "min_items", "max_items", "unique", "items"),
    *("min_pairs", "max_pairs", "keys", "values"),
))  # fmt: skip


def problems(message: Message) -> list[str]:
    """What is wrong with a message and all that is in it, Anys unpacked: `path: reason` each; empty when it is valid."""
    return list(_message(message, message.DESCRIPTOR.name))


def unpacked(packed: Any) -> Message:
    """The message in an Any; its module must have been imported."""
    name = packed.type_url.rpartition("/")[2]
    inner: Message = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))()
    inner.ParseFromString(packed.value)
    return inner


def _message(message: Message, path: str) -> Iterator[str]:
    descriptor = message.DESCRIPTOR
    options = descriptor.GetOptions().Extensions
    if options[validate_pb2.disabled] or options[validate_pb2.ignored]:
        return
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.required] and message.WhichOneof(oneof.name) is None:
            yield f"{path}: one of {', '.join(field.name for field in oneof.fields)} is required"
    for field in descriptor.fields:
        yield from _field(message, field, f"{path}.{field.name}")
    if descriptor.full_name == _ANY and message.type_url:  # type: ignore[attr-defined]
        inner = unpacked(message)
        yield from _message(inner, f"{path}<{inner.DESCRIPTOR.name}>")


def _field(message: Message, field: Any, path: str) -> Iterator[str]:
    rules = field.GetOptions().Extensions[validate_pb2.rules]
    value = getattr(message, field.name)
    for kind, of_kind in rules.ListFields():
        unknown = {rule.name for rule, _ in getattr(of_kind, "ListFields", list)()} - _APPLIED
        assert not unknown, f"{path}: {kind.name} rules that are not known here: {sorted(unknown)}"
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _map(rules.map, value, field.message_type, path)
        else:
            yield from _repeated(rules.repeated, value, field, path)
        return
    if field.has_presence and not message.HasField(field.name):
        kind = rules.WhichOneof("type")
        if field.containing_oneof is not None:  # rules are for the member that is set
            return
        if rules.message.required or (kind in ("any", "duration", "timestamp") and getattr(rules, kind).required):
            yield f"{path}: is required"
        return
    yield from _value(rules, value, field, path)


def _repeated(rules: Any, values: Any, field: Any, path: str) -> Iterator[str]:
    if rules.ignore_empty and not values:
        return
    if rules.HasField("min_items") and len(values) < rules.min_items:
        yield f"{path}: has {len(values)} items, needs at least {rules.min_items}"
    if rules.HasField("max_items") and len(values) > rules.max_items:
        yield f"{path}: has {len(values)} items, may have at most {rules.max_items}"
    if rules.unique and len({_comparable(value) for value in values}) < len(values):
        yield f"{path}: items repeat"
    for index, value in enumerate(values):
        yield from _value(rules.items, value, field, f"{path}[{index}]")


def _map(rules: Any, values: Any, entry: Descriptor, path: str) -> Iterator[str]:
    if rules.ignore_empty and not values:
        return
    if rules.HasField("min_pairs") and len(values) < rules.min_pairs:
        yield f"{path}: has {len(values)} pairs, needs at least {rules.min_pairs}"
    if rules.HasField("max_pairs") and len(values) > rules.max_pairs:
        yield f"{path}: has {len(values)} pairs, may have at most {rules.max_pairs}"
    keys, items = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for key in values:
        yield from _value(rules.keys, key, keys, f"{path}.key({key!r})")
        yield from _value(rules.values, values[key], items, f"{path}[{key!r}]")


def _value(rules: Any, value: Any, field: Any, path: str) -> Iterator[str]:
    kind = rules.WhichOneof("type")
    if field.message_type is None:
        if kind is not None:
            yield from _scalar(kind, getattr(rules, kind), value, path, field)
        return
    if kind in _SCALARS:  # of a wrapper such as google.protobuf.UInt32Value
        yield from _scalar(kind, getattr(rules, kind), value.value, path, field)
    elif kind == "duration":
        yield from _range(rules.duration, value, path, lambda bound: bound.ToNanoseconds())
    elif kind == "any":
        yield from _set(rules.any, value.type_url, path)
    else:
        assert kind in (None, "message"), f"{path}: rules of type {kind}"
    if not rules.message.skip:
        yield from _message(value, path)


def _scalar(kind: str, rules: Any, value: Any, path: str, field: Any) -> Iterator[str]:
    if kind not in ("bool", "enum") and rules.ignore_empty and not value:
        return
    if rules.HasField("const") and value != rules.const:
        yield f"{path}: is {value!r}, must be {rules.const!r}"
    if kind == "bool":
        return
    yield from _set(rules, value, path)
    if kind == "enum":
        assert field.enum_type is not None
        if rules.defined_only and value not in field.enum_type.values_by_number:
            yield f"{path}: {value} is no value of {field.enum_type.name}"
    elif kind == "string":
        yield from _text(rules, value, path)
        yield from _sizes(rules, (("", len(value)), ("_bytes", len(value.encode()))), path)
    elif kind == "bytes":
        yield from _sizes(rules, (("", len(value)),), path)
    else:
        yield from _range(rules, value, path, lambda bound: bound)


def _range(rules: Any, value: Any, path: str, comparable: Callable[[Any], Any]) -> Iterator[str]:
    """Bounds. With the lower above the upper they exclude what is between, as PGV has it; Envoy's API has no such rule."""
    here = comparable(value)
    tests: tuple[tuple[str, Callable[[Any], bool]], ...] = (
        ("lt", lambda bound: here < bound),
        ("lte", lambda bound: here <= bound),
        ("gt", lambda bound: here > bound),
        ("gte", lambda bound: here >= bound),
    )
    for name, holds in tests:
        if rules.HasField(name) and not holds(comparable(getattr(rules, name))):
            yield f"{path}: is {str(value).strip()}, must be {name} {str(getattr(rules, name)).strip()}"


def _set(rules: Any, value: Any, path: str) -> Iterator[str]:
    among, barred = getattr(rules, "in"), rules.not_in
    if among and value not in among:
        yield f"{path}: is {value!r}, must be one of {list(among)}"
    if value in barred:
        yield f"{path}: may not be {value!r}"


def _sizes(rules: Any, sizes: tuple[tuple[str, int], ...], path: str) -> Iterator[str]:
    for unit, size in sizes:
        exact, least, most = f"len{unit}", f"min{unit or '_len'}", f"max{unit or '_len'}"
        if rules.HasField(exact) and size != getattr(rules, exact):
            yield f"{path}: has length {size}, must have {getattr(rules, exact)}"
        if rules.HasField(least) and size < getattr(rules, least):
            yield f"{path}: has length {size}, must have at least {getattr(rules, least)}"
        if rules.HasField(most) and size > getattr(rules, most):
            yield f"{path}: has length {size}, must have at most {getattr(rules, most)}"


def _text(rules: Any, value: str, path: str) -> Iterator[str]:
    if rules.HasField("prefix") and not value.startswith(rules.prefix):
        yield f"{path}: {value!r} must begin with {rules.prefix!r}"
    if rules.HasField("suffix") and not value.endswith(rules.suffix):
        yield f"{path}: {value!r} must end in {rules.suffix!r}"
    if rules.HasField("pattern") and re.search(rules.pattern, value) is None:
        yield f"{path}: {value!r} does not match {rules.pattern!r}"
    if rules.HasField("well_known_regex") and re.fullmatch(_HEADERS[rules.well_known_regex, rules.strict], value) is None:
        yield f"{path}: {value!r} is no valid header name or value"


_KNOWN = validate_pb2.KnownRegex
_HEADERS = {
    (_KNOWN.HTTP_HEADER_NAME, True): r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+",
    (_KNOWN.HTTP_HEADER_VALUE, True): r"[^\x00-\x08\x0a-\x1f\x7f]*",
    (_KNOWN.HTTP_HEADER_NAME, False): r"[^\x00\x0a\x0d]+",
    (_KNOWN.HTTP_HEADER_VALUE, False): r"[^\x00\x0a\x0d]*",
}


def _comparable(value: Any) -> Any:
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else value
