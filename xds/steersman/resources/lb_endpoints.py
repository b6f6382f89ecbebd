"""LbEndpoints by hand, byte for byte as the protobuf runtime writes them deterministically: fields by number, map entries by key.

The runtime can neither share parts of a message nor keep up (docs/design/resources.md has the figures). Field numbers are those of
envoy/config/endpoint/v3/{endpoint,endpoint_components}.proto and envoy/config/core/v3/{address,base}.proto.
"""

from array import array
from functools import lru_cache

from steersman.model.ids import Labels
from steersman.model.mesh import Endpoint, Health, NetworkGateway
from steersman.names import TLS_MODE_ISTIO
from steersman.resources.listeners import LB_METADATA, POD_ADDRESS


@lru_cache(maxsize=1 << 12)
def varint(value: int) -> bytes:
    """A non-negative integer as protobuf writes it."""
    if value < 0x80:
        return b"%c" % value
    if value < 0x4000:
        return b"%c%c" % (value & 0x7F | 0x80, value >> 7)
    return b"%c%b" % (value & 0x7F | 0x80, varint(value >> 7))


def field(number: int, payload: bytes) -> bytes:
    """A field with a length: a string, bytes or message."""
    return b"%c%b%b" % (number << 3 | 2, varint(len(payload)), payload)


@lru_cache(maxsize=1 << 12)
def weight_field(number: int, weight: int) -> bytes:
    """A field of type google.protobuf.UInt32Value."""
    value = varint(weight)
    return b"%c%c\x08%b" % (number << 3 | 2, len(value) + 1, value)


def _entry(name: bytes, key: bytes, value: str) -> bytes:
    """Metadata.filter_metadata: name -> Struct{fields: key -> Value{string_value}}; `name` and `key` as fields already."""
    return field(1, name + field(2, _member(key, value)))


def _member(key: bytes, value: str) -> bytes:
    return field(1, key + field(2, field(3, value.encode())))


_SUBSET, _ADDRESS = field(1, LB_METADATA.encode()), field(1, POD_ADDRESS.encode())
_ISTIO, _CLUSTER, _NETWORK, _WORKLOAD = (field(1, name) for name in (b"istio", b"cluster", b"network", b"workload"))
_MTLS = _entry(field(1, b"envoy.transport_socket_match"), field(1, b"tlsMode"), TLS_MODE_ISTIO)
_HEALTH = {Health.HEALTHY: b"\x10\x01", Health.DRAINING: b"\x10\x03"}
"""LbEndpoint.health_status. HEALTHY is said, though unset means the same to Envoy: Istio's tools show it."""


def encoded(endpoints: tuple[Endpoint, ...], scale: int, *, headless: bool = False) -> bytes:
    """Endpoints as LocalityLbEndpoints.lb_endpoints, in order, each weight multiplied by `scale`. `headless`: each says its address in its
    metadata as well, so that a client that dialled one pod gets that one.

    An endpoint's own are its address and its workload's name, which is Istio's for telemetry, `NAME;NAMESPACE;CANONICAL NAME;CANONICAL
    REVISION;CLUSTER`. What stands around them depends on their lengths, and is looked up where it isn't the same as for the one before;
    so is what labels say, which replicas have in common, mostly in one object.
    """
    out: list[bytes] = []
    common: _Common | None = None
    first = said = last = end = b""
    labels: Labels | None = None
    namespace = cluster = canonical = rest = suffix = ""
    for endpoint in endpoints:
        workload = endpoint.workload
        pod = workload.pod
        if pod is None:
            name = f";;;;{workload.cluster}".encode()
        else:
            if workload.labels is not labels or pod.namespace != namespace or workload.cluster != cluster:
                labels, namespace, cluster = workload.labels, pod.namespace, workload.cluster
                canonical, revision, suffix = _said_by(labels)
                rest = f";{namespace};{canonical};{revision};{cluster}" if canonical else f";{revision};{cluster}"
            own = pod.name
            if suffix:
                own = own.rpartition(suffix)[0] or own
            name = (own + rest if canonical else f"{own};{namespace};{own}{rest}").encode()
        address = endpoint.address.encode()
        alike = (len(address), len(name), endpoint.port, endpoint.health, endpoint.weight, endpoint.traits.mtls)
        if alike != common:
            common = alike
            first, said, last, end = _mold(alike, scale, headless=headless)
        out += (first, address, said, address, last, name, end) if headless else (first, address, last, name, end)
    return b"".join(out)


def lengths_of(entries: bytes) -> "array[int]":
    """What each field of a list takes, in bytes, with its tag (of one byte) and its length."""
    lengths = array("I")
    at, whole = 0, len(entries)
    while at < whole:
        size, begins, shift = entries[at + 1], at + 2, 7
        while size >> shift:  # the last byte read says that another one follows
            size += (entries[begins] - 1) << shift
            begins += 1
            shift += 7
        lengths.append(begins + size - at)
        at = begins + size
    return lengths


_Common = tuple[int, int, int, Health, int, bool]
"""What many endpoints of a cell have in common: the lengths in bytes of address and workload's name; port, health, weight, mTLS."""

_Mold = tuple[bytes, bytes, bytes, bytes]
"""An entry of the list of LbEndpoints without what is an endpoint's own. Before its address; before the address in its metadata,
where that says it; before its workload's name, which comes last there; after that."""


@lru_cache(maxsize=1 << 12)
def _mold(common: _Common, scale: int, *, headless: bool) -> _Mold:
    length, name_length, port, health, weight, mtls = common
    before = b"\x12" + varint(length)
    after = b"\x18" + varint(port)
    size = len(before) + length + len(after)
    for _message in ("SocketAddress", "Address", "Endpoint"):
        opening = b"\x0a" + varint(size)
        before = opening + before
        size += len(opening)
    said = _entry(_SUBSET, _ADDRESS, "_" * length)[:-length] if headless else b""
    last = (_MTLS if mtls else b"") + _entry(_ISTIO, _WORKLOAD, "_" * name_length)[:-name_length]
    metadata = len(said) + (length if headless else 0) + len(last) + name_length
    rest = _HEALTH[health] + b"\x1a" + varint(metadata)
    end = weight_field(4, weight * scale)
    before = b"\x12" + varint(size + len(rest) + metadata + len(end)) + before
    after += rest
    return (before, after + said, last, end) if headless else (before, b"", after + last, end)


def encoded_gateway(gateway: NetworkGateway) -> bytes:
    """A network's gateway as an LbEndpoint without its weight, which comes last: always mTLS, and labelled with what it stands for."""
    address = field(2, gateway.address.encode()) + b"\x18" + varint(gateway.port)
    said = _member(_CLUSTER, gateway.cluster) + _member(_NETWORK, gateway.network) + _member(_WORKLOAD, f";;;;{gateway.cluster}")
    metadata = _MTLS + field(1, _ISTIO + field(2, said))
    return field(1, field(1, field(1, address))) + _HEALTH[Health.HEALTHY] + field(3, metadata)


@lru_cache(maxsize=1 << 10)
def _said_by(labels: Labels) -> tuple[str, str, str]:
    """(canonical name or "", revision, what a Deployment appends to its name before a pod's own suffix, or "")"""
    said = dict(labels)
    canonical = said.get("service.istio.io/canonical-name") or said.get("app.kubernetes.io/name") or said.get("app") or ""
    revision = said.get("service.istio.io/canonical-revision") or said.get("app.kubernetes.io/version") or said.get("version") or "latest"
    template = said.get("pod-template-hash")
    return canonical, revision, f"-{template}-" if template else ""
