"""What a router listens for: its Istio Gateways' servers, merged by port, and the services that their hosts admit."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.config import Passthrough
from steersman.model.ids import ObjectKey, ServicePortKey, selects
from steersman.model.mesh import MeshService, ServicePort
from steersman.model.objects import Gateway, GatewayServer, Protocol, TLSMode
from steersman.model.proxy import ProxyType
from steersman.names import gateway_route, gateway_tls_route, outbound_cluster, short_hosts, sni_name
from steersman.registry.addresses import parse_address
from steersman.registry.collections import GATEWAYS, GATEWAYS_IN, IDENTITIES, MESH_SERVICES, PROXIES, VISIBLE_SERVICES
from steersman.registry.mesh import mesh_of
from steersman.views.collections import STANDPOINTS
from steersman.views.inbound import targets_of
from steersman.views.listeners import (
    MutualServer,
    PassthroughService,
    Refusal,
    RefusedServer,
    ServerKind,
    ServerPort,
    Servers,
    VirtualHost,
)
from steersman.views.scopes import Router

_ANY_ADDRESS = ("", "0.0.0.0", "::")
_HTTP_PROTOCOLS = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
_TLS_PROTOCOLS = ("TLS", "HTTPS")
_DNS_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?(?:\.[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?)*")


def router_of(read: Reader, node: str) -> Router | None:
    """Where a router stands as far as its listeners and routes go. A Gateway without selector is for every router of its cluster.

    A server's port is that of the Service in front of the router, where it has one with that port; the router listens on the target port.
    """
    proxy, standpoint = read(PROXIES, node), read(STANDPOINTS, node)
    if proxy is None or standpoint is None or proxy.type is not ProxyType.ROUTER or proxy.is_proxyless:
        return None
    gateways: list[Gateway] = []
    for key in read(GATEWAYS_IN, standpoint.cluster):
        gateway = read(GATEWAYS, key)
        if gateway is not None and (not gateway.selector or selects(gateway.selector, standpoint.labels)):
            gateways.append(gateway)
    served = {server.port for gateway in gateways for server in gateway.servers}
    targets: dict[int, int] = {}
    for target in sorted(targets_of(read, proxy, standpoint)):
        if target.port and target.service.port in served:
            targets.setdefault(target.service.port, target.port)
    return Router(
        standpoint.namespace,
        standpoint.cluster,
        tuple(gateway.key for gateway in gateways),
        standpoint.families,
        tuple(sorted((port, number) for port, number in targets.items() if port != number)),
    )


class HostPattern(NamedTuple):
    """A host of a server, `[NAMESPACE/]DNSNAME`. `namespace`: of the services that it may admit, "" for any. `name`: a DNS name, *.SUFFIX,
    or *."""

    namespace: str
    name: str

    def covers(self, host: str, namespace: str) -> bool:
        """Whether a name of a service in that namespace is one of these."""
        if self.namespace not in ("", namespace):
            return False
        return self.name == host or (self.name[0] == "*" and host.endswith(self.name[1:]))


def parse_host(text: str, gateway_namespace: str) -> HostPattern | None:
    """The pattern; "." is the gateway's own namespace, "*" any. None where it is no DNS name and no wildcard."""
    namespace, slash, name = text.rpartition("/")
    name = name.lower()
    if name != "*" and not _DNS_NAME.fullmatch(name):
        return None
    if not slash or namespace == "*":
        return HostPattern("", name)
    return HostPattern(gateway_namespace if namespace == "." else namespace, name) if namespace else None


class _Server(NamedTuple):
    """A server that is served: where it was written (see RefusedServer), and whom it admits."""

    gateway: ObjectKey
    place: int
    server: GatewayServer
    hosts: tuple[HostPattern, ...]

    def refused(
        self, reason: Refusal, service: ServicePortKey | None = None, host: str = "", holder: ObjectKey | None = None
    ) -> RefusedServer:
        return RefusedServer(gateway=self.gateway, index=self.place, reason=reason, service=service, host=host, holder=holder)

    def covers(self, host: str, namespace: str) -> bool:
        return any(pattern.covers(host, namespace) for pattern in self.hosts)


def servers_of(read: Reader, scope: Router) -> Servers:
    """The servers of a router's Gateways, merged by port; in disputes the older Gateway wins (creationTimestamp, namespace, name).

    HTTP and ISTIO_MUTUAL servers with HTTP inside route by Host to the services that their hosts admit; AUTO_PASSTHROUGH servers by SNI, to
    those that also have mTLS endpoints. Any other server is refused as a whole: nothing is half done. A port on which nobody is admitted
    is not listened on, as Envoy refuses a listener without filter chains.
    """
    refused: list[RefusedServer] = []
    by_port: dict[tuple[str, int], list[_Server]] = {}
    targets = dict(scope.targets)
    for server in _accepted(read, scope, refused):
        bind = "" if server.server.bind in _ANY_ADDRESS else server.server.bind
        same = by_port.setdefault((bind, targets.get(server.server.port, server.server.port)), [])
        if same and _kind(same[0].server) is not _kind(server.server):
            refused.append(server.refused(Refusal.SERVER_CONFLICT, holder=same[0].gateway))
        else:
            same.append(server)
    services = _services(read, scope)
    ports: list[ServerPort] = []
    routes: dict[str, tuple[VirtualHost, ...]] = {}
    for (bind, number), servers in by_port.items():
        if _kind(servers[0].server) is ServerKind.HTTP:
            route = gateway_route(number, bind)
            routes[route] = _virtual_hosts(read, servers, services)
            ports.append(ServerPort(port=number, kind=ServerKind.HTTP, bind=bind, route=route))
            continue
        mutual = _mutual(bind, number, servers, refused)
        for terminated, made_of in mutual.items():
            routes[terminated.route] = _virtual_hosts(read, made_of, services)
        automatic = [server for server in servers if server.server.tls_mode is TLSMode.AUTO_PASSTHROUGH]
        port = ServerPort(
            port=number,
            kind=ServerKind.TLS,
            bind=bind,
            passthrough=_passthrough(read, automatic, services, refused),
            patterns=_patterns(read, automatic),
            mutual=tuple(sorted(mutual)),
        )
        if port.passthrough or port.patterns or port.mutual:
            ports.append(port)
    return Servers(
        ports=tuple(sorted(ports, key=lambda port: port.name)),
        routes=tuple(sorted(routes.items())),
        refused=tuple(refused),
    )


def _kind(server: GatewayServer) -> ServerKind:
    return ServerKind.HTTP if server.tls_mode is TLSMode.NONE else ServerKind.TLS


def _accepted(read: Reader, scope: Router, refused: list[RefusedServer]) -> Iterator[_Server]:
    """The servers that can be served, with the hosts that can be matched, the oldest Gateway's first."""
    gateways = sorted((gateway.created, key, gateway) for key in scope.gateways if (gateway := read(GATEWAYS, key)) is not None)
    for _, key, gateway in gateways:
        for index, written in enumerate(gateway.servers):
            hosts = []
            reason = _unserved(written)
            for text in written.hosts if reason is None else ():
                pattern = parse_host(text, key.namespace)
                if pattern is None:
                    refused.append(RefusedServer(gateway=key, index=index, reason=Refusal.BAD_HOST, host=text))
                else:
                    hosts.append(pattern)
            if reason is not None:
                refused.append(RefusedServer(gateway=key, index=index, reason=reason))
            elif hosts:
                yield _Server(key, index, written, tuple(hosts))


def _unserved(server: GatewayServer) -> Refusal | None:
    """Why a server is not served at all. What would need a VirtualService to say where TCP goes, or a certificate of its own, is
    refused."""
    if server.bind not in _ANY_ADDRESS and parse_address(server.bind) is None:
        return Refusal.BAD_BIND
    match server.tls_mode:
        case TLSMode.NONE:
            return None if server.protocol in _HTTP_PROTOCOLS else Refusal.UNSUPPORTED_PROTOCOL
        case TLSMode.AUTO_PASSTHROUGH:
            return None if server.protocol in _TLS_PROTOCOLS else Refusal.UNSUPPORTED_PROTOCOL
        case TLSMode.ISTIO_MUTUAL:
            return None if server.protocol == "HTTPS" else Refusal.UNSUPPORTED_PROTOCOL
        case _:
            return Refusal.UNSUPPORTED_TLS


def _services(read: Reader, scope: Router) -> list[MeshService]:
    """What the router's namespace may call, sorted."""
    found = (read(MESH_SERVICES, key) for key in read(VISIBLE_SERVICES, scope.namespace))
    return [service for service in found if service is not None]


# -- by Host ------------------------------------------------------------------------------------------------------------------


def _virtual_hosts(read: Reader, servers: list[_Server], services: list[MeshService]) -> tuple[VirtualHost, ...]:
    """The HTTP services that these servers' hosts admit, each under those of its names that they admit. A Host's port doesn't count here:
    in front of a gateway, ports are mapped."""
    domain = mesh_of(read).domain
    hosts: list[VirtualHost] = []
    for service in services:
        names = short_hosts(service.key, domain, client_namespace="")
        admitting = [server for server in servers if any(server.covers(name, service.key.namespace) for name in names)]
        port = _http_port(service, admitting[0].server.port) if admitting else None
        if port is not None:
            domains = tuple(name for name in names if any(server.covers(name, service.key.namespace) for server in admitting))
            hosts.append(VirtualHost(f"{service.hostname}:{port.port}", outbound_cluster(port.port, service.hostname), domains))
    return tuple(sorted(hosts))


def _http_port(service: MeshService, number: int) -> ServicePort | None:
    """The HTTP port of that number, else the lowest."""
    found = [port for port in service.ports if port.protocol.is_http]
    return next((port for port in found if port.port == number), found[0] if found else None)


def _mutual(bind: str, number: int, servers: list[_Server], refused: list[RefusedServer]) -> dict[MutualServer, list[_Server]]:
    """The ISTIO_MUTUAL servers on a port, with what each is made of. Envoy refuses two filter chains with one match: the first keeps a
    name."""
    names: dict[str, list[str]] = {}
    made_of: dict[str, list[_Server]] = {}
    holders: dict[str, tuple[str, ObjectKey]] = {}
    for server in servers:
        if server.server.tls_mode is not TLSMode.ISTIO_MUTUAL:
            continue
        route = gateway_tls_route(number, server.server.port_name, server.gateway.name, server.gateway.namespace, bind)
        kept = []
        for pattern in server.hosts:
            held_by, holder = holders.setdefault(pattern.name, (route, server.gateway))
            if held_by == route:
                kept.append(pattern)
            else:
                refused.append(server.refused(Refusal.SERVER_CONFLICT, host=pattern.name, holder=holder))
        if kept:
            names.setdefault(route, []).extend(pattern.name for pattern in kept)
            made_of.setdefault(route, []).append(server._replace(hosts=tuple(kept)))
    return {MutualServer(route, tuple(sorted(set(names[route])))): made_of[route] for route in names}


# -- by SNI -------------------------------------------------------------------------------------------------------------------


def _passthrough(
    read: Reader, servers: list[_Server], services: list[MeshService], refused: list[RefusedServer]
) -> tuple[PassthroughService, ...]:
    """The service ports that AUTO_PASSTHROUGH servers admit, by SNI: by their hosts, and only with endpoints that speak mTLS, since the
    gateway itself checks nobody's certificate."""
    found: list[PassthroughService] = []
    for service in services:
        admitting = next((server for server in servers if server.covers(service.hostname, service.key.namespace)), None)
        if admitting is None or service.external_name:
            continue
        mtls = read(IDENTITIES, service.key).mtls
        for port in service.ports:
            key = ServicePortKey(service.key.namespace, service.key.name, port.port)
            if port.protocol is Protocol.UDP:
                refused.append(admitting.refused(Refusal.NOT_PROXIED, key))
            elif not mtls:
                refused.append(admitting.refused(Refusal.NOT_MTLS, key))
            else:
                found.append(PassthroughService(key, sni_name(port.port, service.hostname), port.protocol))
    return tuple(sorted(found, key=lambda admitted: admitted.sni))


def _patterns(read: Reader, servers: list[_Server]) -> tuple[str, ...] | None:
    """With sniCluster, what SNI names of services that the servers' hosts admit look like; "*" among them is any. None with filterChains.

    An SNI ends in the service's host name, which says its namespace.
    """
    mesh = mesh_of(read)
    if mesh.passthrough is not Passthrough.SNI_CLUSTER or not servers:
        return None
    found = {_pattern(pattern, mesh.domain) for server in servers for pattern in server.hosts}
    return tuple(sorted(found - {""}))


def _pattern(pattern: HostPattern, domain: str) -> str:
    """The SNI pattern of a host; "" where its name and its namespace exclude each other."""
    if pattern.name[0] != "*":
        return f"*.{pattern.name}" if not pattern.namespace or pattern.name.endswith(f".{pattern.namespace}.svc.{domain}") else ""
    if not pattern.namespace:
        return pattern.name
    suffix, wanted = pattern.name[1:], f".{pattern.namespace}.svc.{domain}"
    longer, shorter = (suffix, wanted) if len(suffix) > len(wanted) else (wanted, suffix)
    return f"*{longer}" if longer.endswith(shorter) else ""
