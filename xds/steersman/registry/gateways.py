"""Through which addresses a network is reached from others."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.config import NetworkConfig, NetworkGatewayConfig
from steersman.model.ids import ClusterID, NetworkID, ObjectKey, label, selects
from steersman.model.mesh import NetworkGateway, NetworkGateways, ObjectRef
from steersman.model.objects import Kind, Protocol, Service, ServiceType
from steersman.names import DEFAULT_GATEWAY_PORT, GATEWAY_PORT_LABEL, NETWORK_LABEL, parse_hostname
from steersman.registry.addresses import parse_address
from steersman.registry.collections import (
    NETWORK_GATEWAYS,
    NETWORK_SERVICES_IN,
    NETWORKS,
    NODES,
    NODES_IN,
    RESOLVED,
    SERVICES,
    SERVICES_NAMED,
    SERVICES_OF_NETWORK,
)
from steersman.registry.mesh import mesh_of
from steersman.registry.services import age, port_numbered


class _Candidate(NamedTuple):
    """A place where a gateway should be. `address`: an IP or a hostname."""

    address: str
    port: int
    cluster: ClusterID
    source: ObjectRef


class _Found:
    """Gateways of one network while they are gathered."""

    def __init__(self, read: Reader, network: NetworkID) -> None:
        self.read = read
        self.network = network
        self.gateways: dict[tuple[ClusterID, str, int], NetworkGateway] = {}
        self.ignored: set[tuple[ObjectRef, str]] = set()

    def ignore(self, source: ObjectRef, reason: str) -> None:
        self.ignored.add((source, reason))

    def add(self, candidate: _Candidate) -> None:
        """Adds its IP, or those of its hostname. Reading the answer for a hostname is what asks for it."""
        address = parse_address(candidate.address)
        if address is not None:
            self._add(address.text, candidate)
            return
        if not _is_hostname(candidate.address):
            self.ignore(candidate.source, f"{candidate.address!r} is neither the address of a host nor a hostname")
            return
        resolved = self.read(RESOLVED, candidate.address.lower().rstrip("."))
        if resolved is None:
            self.ignore(candidate.source, f"hostname {candidate.address} is not resolved yet")
        elif not resolved.addresses:
            self.ignore(candidate.source, f"hostname {candidate.address} has no address")
        else:
            for text in resolved.addresses:
                self._add(text, candidate)

    def _add(self, address: str, of: _Candidate) -> None:
        gateway = NetworkGateway(address, of.port, self.network, of.cluster, of.source)
        self.gateways.setdefault((of.cluster, address, of.port), gateway)

    def all(self) -> NetworkGateways:
        return NetworkGateways(
            gateways=tuple(sorted(self.gateways.values(), key=lambda gateway: gateway[:4])),
            ignored=tuple(sorted(self.ignored, key=lambda entry: (str(entry[0]), entry[1]))),
        )


def _is_hostname(text: str) -> bool:
    """Whether this can be asked of DNS: labels with a letter somewhere in the last one, so that a mistyped IP is none."""
    labels = text.rstrip(".").split(".")
    return all(part and part.replace("-", "a").replace("_", "a").isalnum() for part in labels) and not labels[-1].isdecimal()


def network_gateways(read: Reader, network: NetworkID) -> NetworkGateways:
    """The gateways of a network: Services labelled with it, addresses of mesh.networks, and the Services that mesh.networks names in the
    clusters of its fromRegistry.

    A Service's own label wins over being named. Each (cluster, address, port) stands once; of several objects that give it, the oldest
    Service's.
    """
    found = _Found(read, network)
    labelled = read(SERVICES_OF_NETWORK, network)
    for service in _services(read, labelled):
        _add_service(found, service, _labelled_port(found, service))
    for config in mesh_of(read).networks:
        if config.name == network:
            for gateway in config.gateways:
                if gateway.address:
                    found.add(_Candidate(gateway.address, gateway.port, ClusterID(""), ObjectRef(Kind.MESH, "")))
                else:
                    _add_named(found, config, gateway)
    return found.all()


def gateway_addresses(read: Reader, key: str) -> frozenset[str]:
    """The addresses of all gateways of all networks."""
    return frozenset(gateway.address for network in read(NETWORKS, "") for gateway in read(NETWORK_GATEWAYS, network).gateways)


def _services(read: Reader, keys: Iterable[ObjectKey]) -> list[Service]:
    return sorted((service for key in keys if (service := read(SERVICES, key)) is not None), key=age)


def _labelled_port(found: _Found, service: Service) -> int:
    text = label(service.labels, GATEWAY_PORT_LABEL)
    if not text:
        return DEFAULT_GATEWAY_PORT
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    found.ignore(_ref(service), f"label {GATEWAY_PORT_LABEL}={text!r} is no port, taken as {DEFAULT_GATEWAY_PORT}")
    return DEFAULT_GATEWAY_PORT


def named_services(read: Reader, config: NetworkConfig, gateway: NetworkGatewayConfig) -> list[Service]:
    """The Services that a registryServiceName of mesh.networks means: those of that name in the clusters of the network's fromRegistry."""
    name = parse_hostname(gateway.registry_service_name, mesh_of(read).domain)
    registries = {claim.from_registry for claim in config.endpoints if claim.from_registry}
    if name is None:
        return []
    everywhere = read(SERVICES_NAMED, name)
    return [service for service in _services(read, everywhere) if service.key.cluster in registries]


def _add_named(found: _Found, config: NetworkConfig, gateway: NetworkGatewayConfig) -> None:
    named = named_services(found.read, config, gateway)
    if not named:
        registries = ", ".join(claim.from_registry for claim in config.endpoints if claim.from_registry)
        where = f"in {registries}" if registries else "anywhere, as the network has no fromRegistry"
        found.ignore(ObjectRef(Kind.MESH, ""), f"registryServiceName {gateway.registry_service_name}: no such Service {where}")
    for service in named:
        labelled = label(service.labels, NETWORK_LABEL)
        if not labelled:
            _add_service(found, service, gateway.port)
        elif labelled != found.network:
            found.ignore(_ref(service), f"is labelled as a gateway of network {labelled}, which wins over its registryServiceName")


def _add_service(found: _Found, service: Service, number: int) -> None:
    """Adds the external addresses of a Service at one of its ports."""
    source = _ref(service)
    port = port_numbered(service, number)
    if port is None or port.protocol is Protocol.UDP:
        found.ignore(source, f"has no TCP port {number}")
        return
    external = list(service.external_ips)
    if service.type is ServiceType.LOAD_BALANCER:
        external += service.ingress
    for address in external:
        found.add(_Candidate(address, number, service.key.cluster, source))
    nodes = list(_node_addresses(found, service)) if service.type is ServiceType.NODE_PORT else []
    for address in nodes:
        found.add(_Candidate(address, port.node_port or number, service.key.cluster, source))
    if not external and not nodes:
        found.ignore(source, _no_address(service))


def _node_addresses(found: _Found, service: Service) -> Iterator[str]:
    for key in found.read(NODES_IN, service.key.cluster):
        node = found.read(NODES, key)
        if node is not None and (not service.node_selector or selects(service.node_selector, node.labels)):
            yield from node.addresses


def _no_address(service: Service) -> str:
    if service.type is ServiceType.LOAD_BALANCER:
        return "has no ingress address yet (status.loadBalancer), and no externalIPs"
    if service.type is ServiceType.NODE_PORT:
        return "no node that its annotation traffic.istio.io/nodeSelector selects has an address"
    return f"is of type {service.type} without externalIPs, so nothing reaches it from outside"


def _ref(service: Service) -> ObjectRef:
    return ObjectRef(Kind.SERVICE, service.key)


def gateway_services(read: Reader, cluster: ClusterID, namespace: str) -> tuple[ObjectKey, ...]:
    """The Services of one namespace of a cluster that are some network's gateways, by label or by mesh.networks, sorted."""
    labelled = read(NETWORK_SERVICES_IN, (cluster, namespace))
    found = set(labelled)
    for config in mesh_of(read).networks:
        for gateway in config.gateways:
            if gateway.registry_service_name:
                found.update(service.key for service in named_services(read, config, gateway))
    return tuple(sorted(key for key in found if (key.cluster, key.namespace) == (cluster, namespace)))
