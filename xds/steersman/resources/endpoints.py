"""Endpoints, spliced: an endpoint's bytes are made once a cell, and every assignment in which the cell stands holds those very bytes.

Messages are written by hand, byte for byte as the protobuf runtime's deterministic serialiser would (fields by number, map entries by
key), since it can neither share parts of a message nor keep up (docs/design/resources.md has the figures). Field numbers are those of
envoy/config/endpoint/v3/{endpoint,endpoint_components}.proto and envoy/config/core/v3/{address,base}.proto.
"""

from steersman.graph import Reader
from steersman.model.ids import Labels, Locality
from steersman.model.mesh import Endpoint, GatewayShare, Health, LocalityGroup, SplitHorizon, Traits, Workload
from steersman.names import TLS_MODE_ISTIO
from steersman.registry.collections import CELLS, MESH_SERVICES, CellKey
from steersman.resources.collections import ENCODED_CELLS, EncodedCellKey
from steersman.resources.listeners import LB_METADATA, POD_ADDRESS
from steersman.resources.resource import Resource, of_parts
from steersman.views.collections import SEEN, SeenKey

_HEALTH = {Health.HEALTHY: b"\x10\x01", Health.DRAINING: b"\x10\x03"}
"""LbEndpoint.health_status. HEALTHY is said, though unset means the same to Envoy: Istio's tools show it."""


def encoded_cell(read: Reader, key: EncodedCellKey) -> bytes:
    """The endpoints of a cell as LocalityLbEndpoints.lb_endpoints, in order, each weight multiplied by the key's scale."""
    return encoded(read(CELLS, key.cell), key.scale, headless=_headless(read, key.cell))


def assignment_of(read: Reader, key: tuple[str, SeenKey]) -> Resource:
    """The ClusterLoadAssignment of that cluster name: one LocalityLbEndpoints for each group of the view that has endpoints, in its order.

    Parts: cells' bytes, shared with every other assignment that holds the cell, and between them what is this one's own.
    """
    name, seen_key = key
    seen = read(SEEN, seen_key)
    parts = _Parts()
    parts.own(_field(1, name.encode()))
    for group in seen.groups:
        if group.direct or group.gateways:
            _add_group(parts, group, [_cell(read, seen_key, cell, seen) for cell in group.direct])
    return of_parts(name, parts.done())


def encoded(endpoints: tuple[Endpoint, ...], scale: int, *, headless: bool = False) -> bytes:
    """Endpoints as LocalityLbEndpoints.lb_endpoints; see encoded_cell. `headless`: each says its address in its metadata as well, so that
    a client that dialled one pod gets that one.

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
    metadata = _metadata({"workload": workload}, mtls=mtls, address=said)
    tail = _HEALTH[health] + _field(3, metadata) + _field(4, b"\x08" + varint(weight))
    before = b"\x12" + varint(length)
    size = len(before) + length + len(port_value)
    for _message in ("SocketAddress", "Address", "Endpoint"):
        opening = b"\x0a" + varint(size)
        before = opening + before
        size += len(opening)
    return b"\x12" + varint(size + len(tail)) + before, port_value + tail


def varint(value: int) -> bytes:
    """A non-negative integer as protobuf writes it."""
    if value < 0x80:
        return b"%c" % value
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Parts:
    """The parts of a message in order. What is not shared is joined until the next shared part, since each part costs."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._own: list[bytes] = []

    def own(self, piece: bytes) -> None:
        self._own.append(piece)

    def shared(self, part: bytes) -> None:
        self._flush()
        self._parts.append(part)

    def done(self) -> tuple[bytes, ...]:
        self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        if self._own:
            self._parts.append(b"".join(self._own))
            self._own.clear()


def _cell(read: Reader, seen_key: SeenKey, traits: Traits, seen: SplitHorizon) -> bytes:
    key = CellKey(seen_key.port, traits)
    without = {(address, port) for cell, address, port in seen.without if cell == traits}
    if not without:
        return read(ENCODED_CELLS, EncodedCellKey(key, seen.scale))
    kept = tuple(endpoint for endpoint in read(CELLS, key) if (endpoint.address, endpoint.port) not in without)
    return encoded(kept, seen.scale, headless=_headless(read, key))


def _headless(read: Reader, key: CellKey) -> bool:
    service = read(MESH_SERVICES, key.port.service)
    return service is not None and service.headless


def _add_group(parts: _Parts, group: LocalityGroup, cells: list[bytes]) -> None:
    """One ClusterLoadAssignment.endpoints: locality, the cells, the gateways, weight, priority."""
    locality = _locality(group.locality)
    gateways = b"".join(_gateway(share) for share in group.gateways)
    end = _field(3, b"\x08" + varint(group.weight)) + (b"\x28" + varint(group.priority) if group.priority else b"")
    size = len(locality) + sum(map(len, cells)) + len(gateways) + len(end)
    parts.own(b"\x12" + varint(size) + locality)
    for cell in cells:
        parts.shared(cell)
    parts.own(gateways + end)


def _locality(locality: Locality) -> bytes:
    """LocalityLbEndpoints.locality. It is there even when nothing is known of it: gRPC refuses a group without."""
    return _field(1, b"".join(_field(number, part.encode()) for number, part in enumerate(locality, 1) if part))


def _gateway(share: GatewayShare) -> bytes:
    """A network's gateway as an LbEndpoint: always mTLS, and labelled with what it stands for."""
    gateway = share.gateway
    address = _field(2, gateway.address.encode()) + b"\x18" + varint(gateway.port)
    istio = {"cluster": gateway.cluster, "network": gateway.network, "workload": f";;;;{gateway.cluster}"}
    tail = _HEALTH[Health.HEALTHY] + _field(3, _metadata(istio, mtls=True)) + _field(4, b"\x08" + varint(share.weight))
    return _field(2, _field(1, _field(1, _field(1, address))) + tail)


def _metadata(istio: dict[str, str], *, mtls: bool, address: str = "") -> bytes:
    """Metadata.filter_metadata: by what a subset picks the endpoint, how it is called (for transport_socket_matches), and who it is (for
    telemetry). `istio`: sorted by key."""
    subset = _entry(LB_METADATA, {POD_ADDRESS: address}) if address else b""
    mode = _entry("envoy.transport_socket_match", {"tlsMode": TLS_MODE_ISTIO}) if mtls else b""
    return subset + mode + _entry("istio", istio)


def _entry(name: str, values: dict[str, str]) -> bytes:
    """One filter_metadata entry: name -> Struct{fields: key -> Value{string_value}}."""
    fields = (_field(1, _field(1, key.encode()) + _field(2, _field(3, value.encode()))) for key, value in values.items())
    return _field(1, _field(1, name.encode()) + _field(2, b"".join(fields)))


def _field(number: int, payload: bytes) -> bytes:
    """A field with a length: a string, bytes or message."""
    return b"%c%b%b" % (number << 3 | 2, varint(len(payload)), payload)


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
