"""Bytes on the wire, to and from the values of a stream.

Requests are decoded by protobuf; responses are put together from the resources' own bytes, so that no message is built or walked to push.
The bytes equal those of protobuf's deterministic serialisation: fields in order of number, defaults left out.
"""

from collections.abc import Iterable
from functools import lru_cache
from sys import intern
from typing import Any, Final, NamedTuple

from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from steersman.ads.messages import DeltaRequested, ErrorDetail, Request, Requested, Response, Send, Spliced, Variant
from steersman.ads.node import agent_of, proxy_of
from steersman.errors import ProtocolError
from steersman.model.proxy import Proxy
from steersman.names import TYPE_NAMES
from steersman.resources.resource import Resource, of_message
from steersman.snapshot.table import Refused

_LARGEST_FOR_GRPC: Final = 4 * 1024 * 1024 - 16 * 1024
"""A gRPC client drops its stream over a message of more than 4 MiB; the rest is for what surrounds the resource."""

_WRAPPING: Final = "xds.config.resource-in-sotw"
_WRAPPER: Final = "type.googleapis.com/envoy.service.discovery.v3.Resource"

_LONGEST_ID: Final = 1_024

_ALIKE: Final = range(512, 128 * 1024)
"""Bytes of requests of which the last few are kept: less is decoded as soon as it is looked for, and more is too much to keep."""

_LONGEST_TEXT: Final = 16_384
"""Characters kept of a NACK's words."""


class Opening(NamedTuple):
    """The first request of a stream. `agent`: the client and its version. `largest`: bytes of a resource that it can take, None for any.
    `mortal`: it takes a time to live, and heartbeats. With state of the world not every client does; gRPC's say so, but drop the one and
    refuse the other."""

    request: Request
    proxy: Proxy
    agent: str
    largest: int | None
    mortal: bool


def requested(raw: bytes) -> Requested:
    """The DiscoveryRequest in these bytes. Raises ProtocolError if there is none."""
    repeating = _repeating(raw) if len(raw) in _ALIKE else None
    return repeating if repeating is not None else _requested(_parsed(discovery_pb2.DiscoveryRequest, raw))


def delta_requested(raw: bytes) -> DeltaRequested:
    """The DeltaDiscoveryRequest in these bytes. Raises ProtocolError if there is none."""
    acknowledging = _acknowledging(raw)
    if acknowledging is not None:
        return acknowledging
    return _delta_subscribed(raw) if len(raw) in _ALIKE else _delta_requested(_parsed(discovery_pb2.DeltaDiscoveryRequest, raw))


@lru_cache(maxsize=32)
def _delta_subscribed(raw: bytes) -> DeltaRequested:
    """A thousand streams that come back alike say the same, and it is decoded once."""
    return _delta_requested(_parsed(discovery_pb2.DeltaDiscoveryRequest, raw))


def opening(variant: Variant, raw: bytes, peer: str) -> Opening:
    """The first request, with who sent it; nothing else of the Node (60 KB from an Envoy) is kept. `peer`: as gRPC writes addresses.

    Raises ProtocolError if it can't be decoded, or doesn't say who the client is.
    """
    message = _parsed(discovery_pb2.DeltaDiscoveryRequest if variant is Variant.DELTA else discovery_pb2.DiscoveryRequest, raw)
    proxy, agent = introduced(message, peer, delta=variant is Variant.DELTA)
    grpc = proxy.generator == "grpc" or agent.startswith("gRPC")
    request: Request = _delta_requested(message) if variant is Variant.DELTA else _requested(message)
    mortal = not grpc and (variant is Variant.DELTA or _WRAPPING in message.node.client_features)
    return Opening(request, proxy, agent, _LARGEST_FOR_GRPC if grpc else None, mortal)


def introduced(message: Any, peer: str, *, delta: bool = True) -> tuple[Proxy, str]:
    """Who sent a first request of any service, and its name and version. `delta`: see proxy_of. Raises ProtocolError if it doesn't say."""
    if not message.HasField("node"):
        raise ProtocolError("INVALID_ARGUMENT", "the first request of a stream has no node; send it at least there")
    if not 0 < len(message.node.id) <= _LONGEST_ID:
        text = f"the node has an id of {len(message.node.id)} characters; give it one of 1 to {_LONGEST_ID}"
        raise ProtocolError("INVALID_ARGUMENT", text)
    return proxy_of(message.node, peer, delta=delta), agent_of(message.node)


def encode(send: Send) -> bytes:
    """The response as it goes out. All but the nonce is put together once, for all streams: by the second of them, so that what only one
    is sent is copied once."""
    response = send.response
    spliced = response.spliced
    if spliced is None:
        spliced = response.spliced = _delta_spliced(response) if response.variant is Variant.DELTA else _sotw_spliced(response)
    elif len(spliced.before) > 1:
        spliced = response.spliced = Spliced((b"".join(spliced.before),), spliced.after)
    return b"".join((*spliced.before, _string(_NONCE, send.nonce), spliced.after))


def no_endpoints(cluster: str) -> Resource:
    """A ClusterLoadAssignment that says that the cluster has none."""
    return of_message(cluster, endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster))


# -- requests -----------------------------------------------------------------------------------------------------------------------------


_TYPE_URL_SUBSCRIBED, _NONCE_ANSWERED = 0x12, 0x32
"""Tags of a DeltaDiscoveryRequest's type_url and response_nonce."""
_VERSION_HELD, _TYPE_URL_NAMED, _NONCE_NAMED = 0x0A, 0x22, 0x2A
"""Those of a DiscoveryRequest's version_info, type_url and response_nonce."""
_TYPE_URL_BEGINS: Final = b"type.googleapis.com/"
_KNOWN: Final = {type_url.encode(): type_url for type_url in TYPE_NAMES}
_SHORTEST_ACK: Final = min(map(len, _KNOWN)) + 5


def _parsed(message_class: Any, raw: bytes) -> Any:
    try:
        return message_class.FromString(raw)
    except DecodeError as error:
        raise ProtocolError("INVALID_ARGUMENT", f"{len(raw)} bytes that are no {message_class.DESCRIPTOR.name}: {error}") from error


def _acknowledging(raw: bytes) -> DeltaRequested | None:
    """The DeltaDiscoveryRequest, if it is an ACK and nothing more, as nearly all are: a type_url that we know, and a response_nonce."""
    if len(raw) < _SHORTEST_ACK or raw[0] != _TYPE_URL_SUBSCRIBED:
        return None
    nonce = raw[1] + 2
    type_url = _KNOWN.get(raw[2:nonce])
    if (
        type_url is None
        or len(raw) < nonce + 3
        or raw[nonce] != _NONCE_ANSWERED
        or raw[nonce + 1] != len(raw) - nonce - 2
        or not raw.isascii()
    ):
        return None
    return DeltaRequested(type_url, nonce=raw[nonce + 2 :].decode())


def _repeating(raw: bytes) -> Requested | None:
    """The DiscoveryRequest, if it is a version_info or none, resource_names, a type_url that we know and a response_nonce, in this order,
    as an ACK is: it says all names again, the same as those of a thousand other streams."""
    names = 2 + raw[1] if raw[0] == _VERSION_HELD else 0
    url = raw.rfind(_TYPE_URL_BEGINS, names)
    if url < names + 2 or raw[url - 2] != _TYPE_URL_NAMED:
        return None
    nonce = url + raw[url - 1]
    type_url, version, answered = _KNOWN.get(raw[url:nonce]), raw[2:names], raw[nonce + 2 :]
    if type_url is None or max(len(version), len(answered)) >= 0x80 or raw[nonce : nonce + 2] != bytes((_NONCE_NAMED, len(answered))):
        return None
    listed = _names_listed(raw[names : url - 2])
    if listed is None or not (version.isascii() and answered.isascii()):
        return None
    return Requested(type_url, listed, version.decode(), answered.decode())


@lru_cache(maxsize=32)
def _names_listed(raw: bytes) -> tuple[str, ...] | None:
    """The resource_names that these bytes of a DiscoveryRequest are; None where they are anything else as well."""
    try:
        message = discovery_pb2.DiscoveryRequest.FromString(raw)
    except DecodeError:
        return None
    names: tuple[str, ...] = tuple(message.resource_names)
    return names if discovery_pb2.DiscoveryRequest(resource_names=names).SerializeToString() == raw else None


def _requested(message: Any) -> Requested:
    return Requested(
        type_url=intern(message.type_url),
        names=_names(message.resource_names, message.resource_locators),
        version=message.version_info,
        nonce=message.response_nonce,
        error=_error(message),
        node_id=message.node.id if message.HasField("node") else "",
    )


def _delta_requested(message: Any) -> DeltaRequested:
    return DeltaRequested(
        type_url=intern(message.type_url),
        subscribe=_names(message.resource_names_subscribe, message.resource_locators_subscribe),
        unsubscribe=_names(message.resource_names_unsubscribe, message.resource_locators_unsubscribe),
        initial=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=_error(message),
        node_id=message.node.id if message.HasField("node") else "",
    )


def _names(names: Iterable[str], locators: Iterable[Any]) -> tuple[str, ...]:
    """A locator is taken for its name: nothing here depends on dynamic parameters."""
    return (*names, *(locator.name for locator in locators))


def _error(message: Any) -> ErrorDetail | None:
    if not message.HasField("error_detail"):
        return None
    return ErrorDetail(message.error_detail.code, message.error_detail.message[:_LONGEST_TEXT])


# -- responses ----------------------------------------------------------------------------------------------------------------------------
# Tags are (field number << 3 | 2): everything here is a string, bytes or a message, but for one number.

_VERSION, _RESOURCES, _TYPE_URL, _NONCE, _REMOVED = b"\x0a", b"\x12", b"\x22", b"\x2a", b"\x32"
_SOTW_ERRORS, _DELTA_ERRORS = b"\x3a", b"\x4a"
_ANY_TYPE, _ANY_VALUE = b"\x0a", b"\x12"
_RESOURCE_VERSION, _RESOURCE_BODY, _RESOURCE_NAME, _RESOURCE_TTL = b"\x0a", b"\x12", b"\x1a", b"\x32"
_SECONDS, _NANOS = b"\x08", b"\x10"
_ERROR_NAME, _ERROR_STATUS = b"\x0a", b"\x12"
_STATUS_CODE, _STATUS_MESSAGE = b"\x08", b"\x12"


def _sotw_spliced(response: Response) -> Spliced:
    chunks = [_string(_VERSION, response.version)]
    (type_field, any_type), ttl = _typed(response.type_url), _ttl(response.ttl)
    for resource in response.resources:
        if ttl:
            _, wrapped = _resource(resource, any_type, ttl, body=not response.heartbeat)
            chunks.append(_element(_RESOURCES, _string(_ANY_TYPE, _WRAPPER) + _element(_ANY_VALUE, b"".join(wrapped))))
        else:
            size, head = _any(any_type, resource)
            chunks += (_RESOURCES, _varint(size), head, *resource.parts)
    chunks.append(type_field)
    return Spliced(tuple(chunks), _errors(_SOTW_ERRORS, response.refused))


def _delta_spliced(response: Response) -> Spliced:
    chunks = [_string(_VERSION, response.version)]
    (type_field, any_type), ttl = _typed(response.type_url), _ttl(response.ttl)
    for resource in response.resources:
        size, fields = _resource(resource, any_type, ttl, body=not response.heartbeat)
        chunks += (_RESOURCES, _varint(size), *fields)
    chunks.append(type_field)
    removed = b"".join([_element(_REMOVED, name.encode()) for name in response.removed])
    return Spliced(tuple(chunks), removed + _errors(_DELTA_ERRORS, response.refused))


@lru_cache(maxsize=32)
def _typed(type_url: str) -> tuple[bytes, bytes]:
    """The type_url as field of a response, and of an Any."""
    return _string(_TYPE_URL, type_url), _string(_ANY_TYPE, type_url)


def _resource(resource: Resource, any_type: bytes, ttl: bytes, *, body: bool) -> tuple[int, tuple[bytes, ...]]:
    """The fields of a Resource{version, resource, name, ttl}, with their size."""
    version, after = _string(_RESOURCE_VERSION, resource.version), _string(_RESOURCE_NAME, resource.name) + ttl
    if not body:
        return len(version) + len(after), (version, after)
    size, head = _any(any_type, resource)
    before = version + _RESOURCE_BODY + _varint(size)
    return len(before) + size + len(after), (before + head, *resource.parts, after)


def _ttl(seconds: float) -> bytes:
    """The field of that time to live; nothing where it is for ever."""
    if not seconds:
        return b""
    whole, nanos = divmod(round(seconds * 1_000_000_000), 1_000_000_000)
    return _element(_RESOURCE_TTL, (_SECONDS + _varint(whole) if whole else b"") + (_NANOS + _varint(nanos) if nanos else b""))


def _any(any_type: bytes, resource: Resource) -> tuple[int, bytes]:
    """The size of the resource's Any, and its bytes up to the resource's own."""
    length = sum(map(len, resource.parts))
    head = any_type + _ANY_VALUE + _varint(length) if length else any_type
    return len(head) + length, head


def _errors(tag: bytes, refused: Iterable[tuple[str, Refused]]) -> bytes:
    """ResourceError{resource_name: ResourceName{name}, error_detail: Status{code, message}} for each."""
    chunks = []
    for name, refusal in refused:
        status = _STATUS_CODE + _varint(refusal.code) + _string(_STATUS_MESSAGE, refusal.text)
        named = _element(_ERROR_NAME, _string(b"\x0a", name))
        chunks.append(_element(tag, named + _element(_ERROR_STATUS, status)))
    return b"".join(chunks)


def _string(tag: bytes, text: str) -> bytes:
    """A string field; nothing where the text is empty."""
    content = text.encode()
    return tag + _varint(len(content)) + content if content else b""


def _element(tag: bytes, content: bytes) -> bytes:
    """A message, or an element of a repeated field, which is there even if it is empty."""
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return b"%c%c" % (number & 0x7F | 0x80, number >> 7)
    return b"%c%b" % (number & 0x7F | 0x80, _varint(number >> 7))


_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(0x80))
