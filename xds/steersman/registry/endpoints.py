"""What each EndpointSlice, or each Service's Pods, contributes: endpoints, and entries that are none for anyone, with the reason."""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from steersman.graph import Reader
from steersman.model.ids import IPFamily, Locality, ObjectKey, ServiceKey, label
from steersman.model.mesh import Endpoint, Health, ObjectRef, Rule, SourceEndpoints, Traits, Twin, Unusable, Workload
from steersman.model.objects import EndpointSlice, Kind, Pod, Port, Service, ServiceType, SliceEndpoint
from steersman.names import NETWORK_LABEL
from steersman.registry.addresses import Address, parse_address
from steersman.registry.collections import (
    CIDR_NETWORKS,
    FAMILY_PODS,
    MESH_SERVICES,
    POD_ENDPOINTS,
    PODS,
    PODS_LABELLED,
    SERVICES,
    SLICE_ENDPOINTS,
    SLICES,
    SLICES_OF,
    SLICES_OF_FAMILY,
    WORKLOADS,
    FamilyKey,
    LabelKey,
)
from steersman.registry.networks import network_at
from steersman.registry.workloads import unnamed_workload

NOTHING = SourceEndpoints()


class _Entry(NamedTuple):
    """An entry with what holds on all its ports. `rule` None: usable; `traits` are set then. `pod`: only where a port may be a
    container's."""

    address: str
    workload: Workload
    source: ObjectRef
    health: Health
    traits: Traits | None
    rule: Rule | None = None
    because: ObjectRef | None = None
    note: str = ""
    pod: Pod | None = None


def endpoint_sources(read: Reader, key: ObjectKey) -> tuple[ObjectRef, ...]:
    """What lists the endpoints of one cluster's Service: its EndpointSlices, sorted; without any, its own selector, as the Service; else
    nothing."""
    service = read(SERVICES, key)
    if service is None or service.type is ServiceType.EXTERNAL_NAME:
        return ()
    slices = read(SLICES_OF, key)
    if slices:
        return tuple(ObjectRef(Kind.ENDPOINT_SLICE, piece) for piece in slices)
    return (ObjectRef(Kind.SERVICE, key),) if service.selector else ()


def endpoints_from(read: Reader, source: ObjectRef) -> SourceEndpoints:
    """What one of `endpoint_sources` contributes."""
    return read(SLICE_ENDPOINTS if source.kind is Kind.ENDPOINT_SLICE else POD_ENDPOINTS, source.key)


def slice_endpoints(read: Reader, key: ObjectKey) -> SourceEndpoints:
    """What one EndpointSlice contributes to its Service, by the names of the Service's ports.

    A slice's port is the Service's port of equal name. One without a number stands for all ports of its endpoints, which are reached at the
    target port then. A port that the slice doesn't have makes its entries unusable there.
    """
    piece = read(SLICES, key)
    if piece is None:
        return NOTHING
    service = read(SERVICES, ObjectKey(key.cluster, key.namespace, piece.service))
    if service is None or service.type is ServiceType.EXTERNAL_NAME:
        return NOTHING
    entries = _slice_entries(read, piece, service)
    numbers = {port.name: port.port for port in reversed(piece.ports) if port.port is not None}
    open_ports = {port.name for port in piece.ports if port.port is None}
    ports = []
    unusable: list[Unusable] = []
    for name, port in _ports_by_name(service):
        number = numbers.get(name)
        if number is None and (name in open_ports or "" in open_ports):
            ports.append((name, _on_any_port(read, entries, port, unusable)))
        else:
            ports.append((name, _on_port(entries, name, number, unusable)))
    return SourceEndpoints(ports=tuple(ports), unusable=tuple(unusable))


def _ports_by_name(service: Service) -> list[tuple[str, Port]]:
    return sorted({port.name: port for port in reversed(service.ports)}.items())


def _slice_entries(read: Reader, piece: EndpointSlice, service: Service) -> list[_Entry]:
    source = ObjectRef(Kind.ENDPOINT_SLICE, piece.key)
    cluster, namespace, _ = piece.key
    mesh_service = read(MESH_SERVICES, ServiceKey(namespace, service.key.name))
    session = mesh_service is not None and mesh_service.session
    twins = _Twins(read, service)
    has_ranges = bool(read(CIDR_NETWORKS, ""))
    entries = []
    for listed in piece.endpoints:
        address = parse_address(listed.address)
        pod = ObjectKey(cluster, namespace, listed.pod) if listed.pod else None
        known = read(WORKLOADS, pod) if pod is not None else None
        if known is None:
            workload = unnamed_workload(read, cluster, address, listed.node)
        elif has_ranges and address is not None:
            workload = _placed_at(read, known, address)
        else:
            workload = known
        if listed.zone and workload.locality == _NO_LOCALITY:
            workload = msgspec.structs.replace(workload, locality=Locality("", listed.zone))
        rule, because, note = _refusal(read, listed, address, pod, known, source, session)
        health = Health.HEALTHY if listed.ready else Health.DRAINING
        if rule is not None or address is None:
            text = address.text if address is not None else listed.address
            entries.append(_Entry(text, workload, source, health, None, rule, because, note))
            continue
        twin = twins.of(address.family, listed.pod) if twins.possible else Twin.ALONE
        entries.append(_Entry(address.text, workload, source, health, _traits(workload, address.family, twin, service)))
    return entries


_NO_LOCALITY = Locality()


def _placed_at(read: Reader, workload: Workload, address: Address) -> Workload:
    """The workload as it stands at this address: by fromCidr a pod's two addresses may be on two networks."""
    if label(workload.labels, NETWORK_LABEL):
        return workload
    network, by = network_at(read, workload.cluster, address.packed)
    if network == workload.network:
        return workload
    return msgspec.structs.replace(workload, network=network, network_by=by)


def _refusal(
    read: Reader,
    listed: SliceEndpoint,
    address: Address | None,
    pod: ObjectKey | None,
    workload: Workload | None,
    source: ObjectRef,
    session: bool,
) -> tuple[Rule | None, ObjectRef | None, str]:
    """Why an entry is no endpoint, by which object; (None, None, "") where it is one. Conditions are those of Kubernetes: `ready` wins,
    which publishNotReadyAddresses sets as well."""
    if address is None:
        return Rule.BAD_ADDRESS, source, f"{listed.address!r} is no address of a host"
    if pod is not None and workload is None:
        if read(PODS, pod) is None:
            return Rule.POD_MISSING, ObjectRef(Kind.POD, pod), "the EndpointSlice names a Pod that is not there (yet)"
        return Rule.POD_INACTIVE, ObjectRef(Kind.POD, pod), "the Pod has run to its end"
    if listed.ready:
        return None, None, ""
    if not listed.terminating:
        return Rule.NOT_READY, source, ""
    if not listed.serving:
        return Rule.TERMINATING, source, ""
    if session:
        return None, None, ""
    return Rule.DRAINING, source, "terminating, and the Service keeps no sessions"


def _on_port(entries: list[_Entry], name: str, number: int | None, unusable: list[Unusable]) -> tuple[Endpoint, ...]:
    found = []
    for entry in entries:
        if entry.traits is None:
            unusable.append(_unusable(entry, name))
        elif number is None:
            unusable.append(_without_port(entry, name))
        else:
            found.append(
                Endpoint(
                    address=entry.address,
                    port=number,
                    traits=entry.traits,
                    health=entry.health,
                    workload=entry.workload,
                    source=entry.source,
                )
            )
    return tuple(found)


def _on_any_port(read: Reader, entries: list[_Entry], port: Port, unusable: list[Unusable]) -> tuple[Endpoint, ...]:
    found: list[Endpoint] = []
    for entry in entries:
        pod = read(PODS, entry.workload.pod) if entry.workload.pod is not None and entry.pod is None else entry.pod
        number = target_number(port, pod)
        found.extend(_on_port([entry], port.name, number, unusable))
    return tuple(found)


def target_number(port: Port, pod: Pod | None) -> int | None:
    """The number of a Service's target port at one pod; None where it is a name that the pod's containers don't have."""
    if isinstance(port.target_port, int):
        return port.target_port
    return dict(pod.ports).get(port.target_port) if pod is not None else None


def _unusable(entry: _Entry, name: str) -> Unusable:
    assert entry.rule is not None
    return Unusable(
        address=entry.address,
        port_name=name,
        rule=entry.rule,
        because=entry.because or entry.source,
        workload=entry.workload,
        source=entry.source,
        note=entry.note,
    )


def _without_port(entry: _Entry, name: str) -> Unusable:
    note = f"lists no port {name!r}" if entry.source.kind is Kind.ENDPOINT_SLICE else f"the Pod has no container port for {name!r}"
    return _unusable(entry._replace(rule=Rule.NO_PORT, because=entry.source, note=note), name)


@lru_cache(maxsize=1 << 16)
def _shared_traits(workload: tuple[object, ...], family: IPFamily, twin: Twin, node: str) -> Traits:
    locality, network, cluster, mtls = workload
    return Traits(locality, network, cluster, mtls, family, twin, node)  # type: ignore[arg-type]


def _traits(workload: Workload, family: IPFamily, twin: Twin, service: Service) -> Traits:
    """Equal traits are one object, as there are few of them among very many endpoints."""
    node = f"{workload.cluster}/{workload.node}" if service.node_local else ""
    return _shared_traits((workload.locality, workload.network, workload.cluster, workload.mtls), family, twin, node)


# -- two families -------------------------------------------------------------------------------------------------------------


class _Twins:
    """Which pods of a Service are listed with an address of either family."""

    def __init__(self, read: Reader, service: Service) -> None:
        self.first = first_family(service)
        listed = {family: read(FAMILY_PODS, FamilyKey(service.key, family)) for family in IPFamily}
        self.both = listed[IPFamily.IPV4] & listed[IPFamily.IPV6]
        self.possible = bool(self.both)

    def of(self, family: IPFamily, pod: str) -> Twin:
        if not pod or pod not in self.both:
            return Twin.ALONE
        return Twin.FIRST if family is self.first else Twin.SECOND


def first_family(service: Service) -> IPFamily:
    """The family that a Service names first; of one that names none, that of its first ClusterIP, else IPv4."""
    if service.families:
        return service.families[0]
    address = parse_address(service.cluster_ips[0]) if service.cluster_ips else None
    return address.family if address is not None else IPFamily.IPV4


def family_pods(read: Reader, key: FamilyKey) -> frozenset[str]:
    """The names of the Pods that stand, ready, in a Service's slices of one family. Empty, and cheap, for a Service of one family only."""
    service, family = key
    found: set[str] = set()
    if read(SLICES_OF_FAMILY, FamilyKey(service, _OTHER[family])):
        for piece_key in read(SLICES_OF_FAMILY, key):
            piece = read(SLICES, piece_key)
            if piece is not None:
                found.update(entry.pod for entry in piece.endpoints if entry.pod and entry.ready)
    return frozenset(found)


_OTHER = {IPFamily.IPV4: IPFamily.IPV6, IPFamily.IPV6: IPFamily.IPV4}


# -- a Service without EndpointSlices -----------------------------------------------------------------------------------------


def pod_endpoints(read: Reader, key: ObjectKey) -> SourceEndpoints:
    """What the Pods that a Service selects contribute: as its EndpointSlices would list them, if a controller had written them.

    A pod stands with one address of each family that the Service names (of one that names none, with its primary address).
    """
    service = read(SERVICES, key)
    if service is None or not service.selector or service.type is ServiceType.EXTERNAL_NAME:
        return NOTHING
    entries = [entry for pod in selected_pods(read, service) for entry in _pod_entries(read, pod, service)]
    ports = []
    unusable: list[Unusable] = []
    for name, port in _ports_by_name(service):
        ports.append((name, _on_any_port(read, entries, port, unusable)))
    return SourceEndpoints(ports=tuple(ports), unusable=tuple(unusable))


def selected_pods(read: Reader, service: Service) -> list[Pod]:
    """The Pods that a Service's selector matches, sorted by name."""
    cluster, namespace, _ = service.key
    buckets = [read(PODS_LABELLED, LabelKey(cluster, namespace, name, value)) for name, value in service.selector]
    selected = set(buckets[0]).intersection(*buckets[1:]) if buckets else ()
    found = (read(PODS, key) for key in sorted(selected))
    return [pod for pod in found if pod is not None]


def _pod_entries(read: Reader, pod: Pod, service: Service) -> list[_Entry]:
    source = ObjectRef(Kind.POD, pod.key)
    parsed = [address for ip in pod.ips if (address := parse_address(ip)) is not None]
    families = service.families or tuple(address.family for address in parsed[:1])
    by_family = {address.family: address for address in reversed(parsed)}
    chosen = [by_family[family] for family in families if family in by_family]
    known = read(WORKLOADS, pod.key)
    rule, note = _refused_pod(pod, service, chosen)
    if known is None or rule is not None:
        unnamed = known or unnamed_workload(read, pod.key.cluster, parsed[0] if parsed else None, pod.node)
        shown = [address.text for address in chosen] or [""]
        return [_Entry(text, unnamed, source, Health.HEALTHY, None, rule, source, note, pod) for text in shown]
    entries = []
    for address in chosen:
        workload = _placed_at(read, known, address)
        twin = Twin.ALONE if len(chosen) == 1 else Twin.FIRST if address.family is first_family(service) else Twin.SECOND
        entries.append(_Entry(address.text, workload, source, Health.HEALTHY, _traits(workload, address.family, twin, service), pod=pod))
    return entries


def _refused_pod(pod: Pod, service: Service, chosen: list[Address]) -> tuple[Rule | None, str]:
    if not pod.active:
        return Rule.POD_INACTIVE, "the Pod has run to its end"
    if pod.terminating and not service.publish_not_ready:
        return Rule.TERMINATING, ""
    if not pod.ready and not service.publish_not_ready:
        return Rule.NOT_READY, ""
    if not chosen:
        names = ", ".join(service.families) or "any family"
        return Rule.BAD_ADDRESS, f"the Pod has no address of {names}" if pod.ips else "the Pod has no address yet"
    return None, ""
