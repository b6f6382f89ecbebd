"""Whom a router lets in: each service by the doors whose hosts admit it, then all of them together."""

import msgspec

from steersman.graph import Reader
from steersman.model.ids import ObjectKey, ServiceKey, ServicePortKey, selects
from steersman.model.mesh import MeshService, ServicePort
from steersman.model.objects import Protocol
from steersman.names import outbound_cluster, short_hosts, sni_name
from steersman.registry.collections import IDENTITIES, MESH_SERVICES, SERVICES, VISIBLE_SERVICES
from steersman.registry.gateways import gateway_services
from steersman.views.collections import ADMISSIONS, SERVER_PORTS
from steersman.views.listeners import (
    Admission,
    Door,
    Doors,
    PassthroughService,
    Refusal,
    RefusedServer,
    ServerKind,
    ServerPort,
    Servers,
    VirtualHost,
)
from steersman.views.scopes import Router


def admission_of(read: Reader, key: tuple[ServiceKey, Doors]) -> Admission:
    """By which doors a service is let in: by Host with its HTTP ports, under those of its names that the hosts admit; by SNI with every
    port, and only with endpoints that speak mTLS, since there the gateway itself checks nobody's certificate. A network's gateway is never
    let in by SNI: a connection for it would go from gateway to gateway, or in a circle."""
    name, doors = key
    service = read(MESH_SERVICES, name)
    if service is None:
        return Admission()
    hosts: list[tuple[str, VirtualHost]] = []
    passthrough: list[tuple[str, PassthroughService]] = []
    refused: list[RefusedServer] = []
    for door in doors.doors:
        if door.route:
            host = _virtual_host(service, door, doors.domain)
            if host is not None:
                hosts.append((door.route, host))
        elif not service.external_name:
            passthrough += ((door.listener, port) for port in _passthrough(read, service, door, refused))
    return Admission(hosts=tuple(hosts), passthrough=tuple(passthrough), refused=tuple(refused))


def _virtual_host(service: MeshService, door: Door, domain: str) -> VirtualHost | None:
    """The service in a gateway's route. A Host's port doesn't count there: in front of a gateway, ports are mapped."""
    namespace = service.key.namespace
    names = short_hosts(service.key, domain, client_namespace="")
    admitting = [server for server in door.servers if any(server.covers(name, namespace) for name in names)]
    port = _http_port(service, admitting[0].number) if admitting else None
    if port is None:
        return None
    domains = tuple(name for name in names if any(server.covers(name, namespace) for server in admitting))
    return VirtualHost(f"{service.hostname}:{port.port}", outbound_cluster(port.port, service.hostname), domains)


def _http_port(service: MeshService, number: int) -> ServicePort | None:
    """The HTTP port of that number, else the lowest."""
    found = [port for port in service.ports if port.protocol.is_http]
    return next((port for port in found if port.port == number), found[0] if found else None)


def _passthrough(read: Reader, service: MeshService, door: Door, refused: list[RefusedServer]) -> list[PassthroughService]:
    admitting = next((server for server in door.servers if server.covers(service.hostname, service.key.namespace)), None)
    if admitting is None:
        return []
    found: list[PassthroughService] = []
    mtls = read(IDENTITIES, service.key).mtls
    is_gateway = _is_network_gateway(read, service)
    for port in service.ports:
        key = ServicePortKey(service.key.namespace, service.key.name, port.port)
        if port.protocol is Protocol.UDP:
            refused.append(admitting.refused(Refusal.NOT_PROXIED, key))
        elif not mtls:
            refused.append(admitting.refused(Refusal.NOT_MTLS, key))
        elif is_gateway:
            refused.append(admitting.refused(Refusal.NETWORK_GATEWAY, key))
        else:
            found.append(PassthroughService(key, sni_name(port.port, service.hostname), port.protocol))
    return found


def _is_network_gateway(read: Reader, service: MeshService) -> bool:
    """Whether in some cluster a service is a network's gateway, or another name for one: selects nothing but such a gateway's pods."""
    namespace, name = service.key
    for cluster in service.clusters:
        key = ObjectKey(cluster, namespace, name)
        own = read(SERVICES, key)
        for gateway_key in gateway_services(read, cluster, namespace):
            gateway = read(SERVICES, gateway_key)
            if gateway_key == key or (own and gateway and gateway.selector and selects(gateway.selector, own.selector)):
                return True
    return False


def servers_of(read: Reader, scope: Router) -> Servers:
    """A router's ports with those whom they admit. A port of TLS on which nobody is admitted is not listened on, as Envoy refuses a
    listener without filter chains."""
    frame = read(SERVER_PORTS, scope)
    routes: dict[str, list[VirtualHost]] = {door.route: [] for door in frame.doors.doors if door.route}
    passthrough: dict[str, list[PassthroughService]] = {port.name: [] for port in frame.ports}
    refused = list(frame.refused)
    for service in read(VISIBLE_SERVICES, scope.namespace):
        admission = read(ADMISSIONS, (service, frame.doors))
        for route, host in admission.hosts:
            routes[route].append(host)
        for listener, port in admission.passthrough:
            passthrough[listener].append(port)
        refused += admission.refused
    ports = (msgspec.structs.replace(port, passthrough=tuple(sorted(passthrough[port.name], key=_sni))) for port in frame.ports)
    return Servers(
        ports=tuple(port for port in ports if _has_use(port)),
        routes=tuple((route, tuple(sorted(hosts))) for route, hosts in sorted(routes.items())),
        refused=tuple(refused),
    )


def _sni(admitted: PassthroughService) -> str:
    return admitted.sni


def _has_use(port: ServerPort) -> bool:
    return port.kind is ServerKind.HTTP or bool(port.passthrough or port.patterns or port.mutual)
