"""LbEndpoints by hand, byte for byte as the protobuf runtime writes them deterministically: fields by number, map entries by key.

The runtime can neither share parts of a message nor keep up (docs/design/resources.md has the figures). Field numbers are those of
envoy/config/endpoint/v3/{endpoint,endpoint_components}.proto and envoy/config/core/v3/{address,base}.proto.
"""

from steersman.model.ids import Labels
from steersman.model.mesh import Endpoint, Health, NetworkGateway, Workload
from steersman.names import TLS_MODE_ISTIO
from steersman.resources.listeners import LB_METADATA, POD_ADDRESS


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

    What stands before and after an address is the same for most endpoints of a cell, and made once.
    """
    around: dict[tuple[int, int, Health, int, bool, str, str], tuple[bytes, bytes]] = {}
    names = _WorkloadNames()
    out: list[bytes] = []
    for endpoint in endpoints:
        address = endpoint.address.encode()
        common = (
            len(address),
            endpoint.port,
            endpoint.health,
            endpoint.weight * scale,
            endpoint.traits.mtls,
            names.of(endpoint.workload),
            endpoint.address if headless else "",
        )
        found = around.get(common)
        if found is None:
            found = around[common] = _around(*common)
        out += (found[0], address, found[1])
    return b"".join(out)


def _around(length: int, port: int, health: Health, weight: int, mtls: bool, workload: str, said: str) -> tuple[bytes, bytes]:
    """What stands before and after an address of that many bytes in the list of LbEndpoints. `said`: the address where metadata says it."""
    port_value = b"\x18" + varint(port)
    subset = _entry(_SUBSET, _ADDRESS, said) if said else b""
    metadata = subset + (_MTLS if mtls else b"") + _entry(_ISTIO, _WORKLOAD, workload)
    tail = _HEALTH[health] + field(3, metadata) + weight_field(4, weight)
    before = b"\x12" + varint(length)
    size = len(before) + length + len(port_value)
    for _message in ("SocketAddress", "Address", "Endpoint"):
        opening = b"\x0a" + varint(size)
        before = opening + before
        size += len(opening)
    return b"\x12" + varint(size + len(tail)) + before, port_value + tail


def encoded_gateway(gateway: NetworkGateway) -> bytes:
    """A network's gateway as an LbEndpoint without its weight, which comes last: always mTLS, and labelled with what it stands for."""
    address = field(2, gateway.address.encode()) + b"\x18" + varint(gateway.port)
    said = _member(_CLUSTER, gateway.cluster) + _member(_NETWORK, gateway.network) + _member(_WORKLOAD, f";;;;{gateway.cluster}")
    metadata = _MTLS + field(1, _ISTIO + field(2, said))
    return field(1, field(1, field(1, address))) + _HEALTH[Health.HEALTHY] + field(3, metadata)


class _WorkloadNames:
    """Istio's name of a workload for telemetry, `NAME;NAMESPACE;CANONICAL NAME;CANONICAL REVISION;CLUSTER`. Replicas have equal labels:
    what these say is worked out once."""

    def __init__(self) -> None:
        self._labels: dict[Labels, tuple[str, str, str]] = {}

    def of(self, workload: Workload) -> str:
        pod = workload.pod
        if pod is None:
            return f";;;;{workload.cluster}"
        found = self._labels.get(workload.labels)
        if found is None:
            found = self._labels[workload.labels] = _said_by(workload.labels)
        canonical, revision, suffix = found
        name = pod.name
        if suffix:
            name = name.rpartition(suffix)[0] or name
        return f"{name};{pod.namespace};{canonical or name};{revision};{workload.cluster}"


def _said_by(labels: Labels) -> tuple[str, str, str]:
    """(canonical name or "", revision, what a Deployment appends to its name before a pod's own suffix, or "")"""
    said = dict(labels)
    canonical = said.get("service.istio.io/canonical-name") or said.get("app.kubernetes.io/name") or said.get("app") or ""
    revision = said.get("service.istio.io/canonical-revision") or said.get("app.kubernetes.io/version") or said.get("version") or "latest"
    template = said.get("pod-template-hash")
    return canonical, revision, f"-{template}-" if template else ""
