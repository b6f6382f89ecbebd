"""What an entry is, a slice's or a Pod's that a Service selects: placed, and at a port an endpoint, or the reason why it is none."""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from steersman.graph import Reader
from steersman.model.ids import ClusterID, IPFamily, Locality, NetworkID, ObjectKey, ServiceKey, label
from steersman.model.mesh import (
    Endpoint,
    ObjectRef,
    Rule,
    Traits,
    Twin,
    Unusable,
    Workload,
)
from steersman.model.objects import EndpointPlace, Kind, Pod, Port, Service
from steersman.names import NETWORK_LABEL
from steersman.registry.addresses import Address, canonical_family, parse_address
from steersman.registry.collections import (
    MESH_SERVICES,
    PODS,
    TWINS,
    WORKLOADS,
)
from steersman.registry.families import first_family
from steersman.registry.networks import network_at
from steersman.registry.workloads import unnamed_workload


class Usable(msgspec.Struct, frozen=True, gc=False):
    """An entry that is an endpoint wherever it has the port. `pod`: only where a port may be one of its containers'."""

    address: str
    workload: Workload
    traits: Traits
    source: ObjectRef
    pod: Pod | None = None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An entry that is no endpoint on any port: why, and by which object."""

    address: str
    workload: Workload
    rule: Rule
    because: ObjectRef
    note: str
    source: ObjectRef


Entry = Usable | Refused


EntryRow = tuple[str, str, EndpointPlace]
"""Of an entry its address as written, its pod's name, and its place."""


def slice_entries(read: Reader, key: ObjectKey, rows: list[EntryRow], placing: "Placing", *, simple: bool) -> list[Entry]:
    """A slice's entries. Most are the address of a known pod, and take the short way. `simple`: of a Service without twins, and no network
    is told by addresses."""
    source = ObjectRef(Kind.ENDPOINT_SLICE, key)
    cluster, namespace = key.cluster, key.namespace
    shared: dict[tuple[object, ...], Traits] = {}
    node_local, first = placing.node_local, placing.first
    entries: list[Entry] = []
    for address, pod, place in rows:
        known = read(WORKLOADS, ObjectKey(cluster, namespace, pod)) if pod else None
        family = canonical_family(address) if simple and known is not None else None
        if known is None or family is None or place.flaw or (place.zone and known.locality == _NO_LOCALITY):
            entries.append(_slice_entry(read, address, pod, place, known, source, placing))
            continue
        alike = (known.locality, known.network, known.mtls, family is first, known.node if node_local else "")  # enums hash slowly
        traits = shared.get(alike)
        if traits is None:
            traits = shared[alike] = placing.traits(known, family, Twin.ALONE)
        entries.append(Usable(address, known, traits, source))
    return entries


def _slice_entry(
    read: Reader, text: str, pod: str, place: EndpointPlace, known: Workload | None, source: ObjectRef, placing: "Placing"
) -> Entry:
    cluster, namespace = source.key.cluster, source.key.namespace
    address = None if place.flaw else parse_address(text)
    if known is None:
        workload = unnamed_workload(read, cluster, address, place.node)
    else:
        workload = placed_at(read, known, address) if address is not None else known
    if place.zone and workload.locality == _NO_LOCALITY:
        workload = msgspec.structs.replace(workload, locality=Locality("", place.zone))
    if address is None:
        note = place.flaw or f"{text!r} is no address of a host"
        return Refused(text, workload, Rule.BAD_ADDRESS, source, note, source)
    if pod and known is None:
        return Refused(address.text, workload, *_absent(read, ObjectKey(cluster, namespace, pod)), source)
    return Usable(address.text, workload, placing.traits(workload, address.family, placing.twin(address.family, pod)), source)


_NO_LOCALITY = Locality()


def placed_at(read: Reader, workload: Workload, address: Address) -> Workload:
    """The workload as it stands at this address: by fromCidr a pod's two addresses may be on two networks."""
    if label(workload.labels, NETWORK_LABEL):
        return workload
    network, by = network_at(read, workload.cluster, address.packed)
    if network == workload.network:
        return workload
    return msgspec.structs.replace(workload, network=network, network_by=by)


def _absent(read: Reader, pod: ObjectKey) -> tuple[Rule, ObjectRef, str]:
    """Why a Pod that a slice names is no workload."""
    if read(PODS, pod) is None:
        return Rule.POD_MISSING, ObjectRef(Kind.POD, pod), "the EndpointSlice names a Pod that is not there (yet)"
    return Rule.POD_INACTIVE, ObjectRef(Kind.POD, pod), "the Pod has run to its end"


def on_port(entries: Iterable[Entry], name: str, number: int) -> tuple[Endpoint | Unusable, ...]:
    return tuple(
        [
            Endpoint(address=entry.address, port=number, traits=entry.traits, workload=entry.workload, source=entry.source)
            if isinstance(entry, Usable)
            else unusable_at(entry, name)
            for entry in entries
        ]
    )


def on_any_port(read: Reader, entries: list[Entry], port: Port) -> tuple[Endpoint | Unusable, ...]:
    """The entries at the Service's target port, which may be a name that each pod gives its own number."""
    found: list[Endpoint | Unusable] = []
    for entry in entries:
        number: int | None = 0
        if isinstance(entry, Usable):
            pod = read(PODS, entry.workload.pod) if entry.pod is None and entry.workload.pod is not None else entry.pod
            number = target_number(port, pod)
        if number is None:
            assert isinstance(entry, Usable)
            found.append(without_port(entry, port.name))
        else:
            found.extend(on_port((entry,), port.name, number))
    return tuple(found)


def target_number(port: Port, pod: Pod | None) -> int | None:
    """The number of a Service's target port at one pod; None where it is a name that the pod's containers don't have."""
    if isinstance(port.target_port, int):
        return port.target_port
    return dict(pod.ports).get(port.target_port) if pod is not None else None


def unusable_at(entry: Refused, name: str) -> Unusable:
    return Unusable(
        address=entry.address,
        port_name=name,
        rule=entry.rule,
        because=entry.because,
        workload=entry.workload,
        source=entry.source,
        note=entry.note,
    )


def without_port(entry: Usable, name: str) -> Unusable:
    note = f"lists no port {name!r}" if entry.source.kind is Kind.ENDPOINT_SLICE else f"no container has the target port of {name!r}"
    return unusable_at(Refused(entry.address, entry.workload, Rule.NO_PORT, entry.source, note, entry.source), name)


@lru_cache(maxsize=1 << 16)
def _shared_traits(
    locality: Locality, network: NetworkID, cluster: ClusterID, mtls: bool, family: IPFamily, twin: Twin, node: str
) -> Traits:
    """Equal traits are one object, as there are few of them among very many endpoints."""
    return Traits(locality, network, cluster, mtls, family, twin, node)


class Placing:
    """What of a Service decides the traits of its endpoints in one cluster."""

    def __init__(self, read: Reader, service: Service) -> None:
        mesh_service = read(MESH_SERVICES, ServiceKey(service.key.namespace, service.key.name))
        self.session = mesh_service is not None and mesh_service.session
        self.node_local = service.node_local
        self.first = first_family(service)
        self.twins = read(TWINS, service.key)

    def traits(self, workload: Workload, family: IPFamily, twin: Twin) -> Traits:
        node = f"{workload.cluster}/{workload.node}" if self.node_local else ""
        return _shared_traits(workload.locality, workload.network, workload.cluster, workload.mtls, family, twin, node)

    def twin(self, family: IPFamily, pod: str) -> Twin:
        """Of the two addresses of a pod that stands in slices of both families."""
        return Twin.ALONE if pod not in self.twins else self.twin_of(family)

    def twin_of(self, family: IPFamily) -> Twin:
        return Twin.FIRST if family is self.first else Twin.SECOND
