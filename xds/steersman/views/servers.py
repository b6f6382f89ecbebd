"""What a router listens for: the servers of the Istio Gateways that select it, merged by port."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.config import MeshConfig, Passthrough
from steersman.model.ids import ObjectKey, selects
from steersman.model.objects import Gateway, GatewayServer, TLSMode
from steersman.model.proxy import ProxyType
from steersman.names import gateway_route, gateway_tls_route
from steersman.registry.addresses import parse_address
from steersman.registry.collections import GATEWAYS, GATEWAYS_IN, PROXIES
from steersman.registry.mesh import mesh_of
from steersman.views.collections import STANDPOINTS
from steersman.views.inbound import targets_of
from steersman.views.listeners import (
    Admitter,
    Door,
    Doors,
    HostPattern,
    MutualServer,
    Refusal,
    RefusedServer,
    ServerKind,
    ServerPort,
    ServerPorts,
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


def parse_host(text: str, gateway_namespace: str) -> HostPattern | None:
    """The pattern of a server's host; "." is the gateway's own namespace, "*" any. None where it is no DNS name and no wildcard."""
    namespace, slash, name = text.rpartition("/")
    name = name.lower()
    if name != "*" and not _DNS_NAME.fullmatch(name):
        return None
    if not slash or namespace == "*":
        return HostPattern("", name)
    return HostPattern(gateway_namespace if namespace == "." else namespace, name) if namespace else None


class _Server(NamedTuple):
    """A server that can be served, with what it is as an admitter."""

    written: GatewayServer
    admits: Admitter


def server_ports_of(read: Reader, scope: Router) -> ServerPorts:
    """The servers of a router's Gateways, merged by port; in disputes the older Gateway wins (creationTimestamp, namespace, name).

    HTTP and ISTIO_MUTUAL servers with HTTP inside admit by Host, AUTO_PASSTHROUGH servers by SNI. Any other server is refused as a whole:
    nothing is half done.
    """
    mesh = mesh_of(read)
    refused: list[RefusedServer] = []
    by_port: dict[tuple[str, int], list[_Server]] = {}
    targets = dict(scope.targets)
    for server in _served(read, scope, refused):
        bind = "" if server.written.bind in _ANY_ADDRESS else server.written.bind
        same = by_port.setdefault((bind, targets.get(server.written.port, server.written.port)), [])
        if same and _kind(same[0].written) is not _kind(server.written):
            refused.append(server.admits.refused(Refusal.SERVER_CONFLICT, holder=same[0].admits.gateway))
        else:
            same.append(server)
    ports: list[ServerPort] = []
    doors: list[Door] = []
    for (bind, number), servers in by_port.items():
        merged = _http if _kind(servers[0].written) is ServerKind.HTTP else _tls
        ports.append(merged(mesh, bind, number, servers, doors, refused))
    return ServerPorts(
        ports=tuple(sorted(ports, key=lambda port: port.name)),
        doors=Doors(domain=mesh.domain, doors=tuple(sorted(doors))),
        refused=tuple(refused),
    )


def _kind(server: GatewayServer) -> ServerKind:
    return ServerKind.HTTP if server.tls_mode is TLSMode.NONE else ServerKind.TLS


def _served(read: Reader, scope: Router, refused: list[RefusedServer]) -> Iterator[_Server]:
    """The servers that can be served, with the hosts that can be matched, the oldest Gateway's first."""
    gateways = sorted((gateway.created, key, gateway) for key in scope.gateways if (gateway := read(GATEWAYS, key)) is not None)
    for _, key, gateway in gateways:
        for place, written in enumerate(gateway.servers):
            reason = _unserved(written)
            if reason is not None:
                refused.append(RefusedServer(gateway=key, index=place, reason=reason))
                continue
            hosts: list[HostPattern] = []
            for text in written.hosts:
                pattern = parse_host(text, key.namespace)
                if pattern is None:
                    refused.append(RefusedServer(gateway=key, index=place, reason=Refusal.BAD_HOST, host=text))
                else:
                    hosts.append(pattern)
            if hosts:
                yield _Server(written, Admitter(key, place, written.port, tuple(hosts)))


def _unserved(server: GatewayServer) -> Refusal | None:
    """Why a server is not served at all. What needs a VirtualService to say where TCP goes, or a certificate of its own, is refused."""
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


def _http(mesh: MeshConfig, bind: str, number: int, servers: list[_Server], doors: list[Door], refused: list[RefusedServer]) -> ServerPort:
    port = ServerPort(port=number, kind=ServerKind.HTTP, bind=bind, route=gateway_route(number, bind))
    doors.append(Door(port.route, "", tuple(server.admits for server in servers)))
    return port


def _tls(mesh: MeshConfig, bind: str, number: int, servers: list[_Server], doors: list[Door], refused: list[RefusedServer]) -> ServerPort:
    ended = [server for server in servers if server.written.tls_mode is TLSMode.ISTIO_MUTUAL]
    passed = tuple(server.admits for server in servers if server.written.tls_mode is TLSMode.AUTO_PASSTHROUGH)
    port = ServerPort(
        port=number,
        kind=ServerKind.TLS,
        bind=bind,
        patterns=_patterns(passed, mesh.domain) if passed and mesh.passthrough is Passthrough.SNI_CLUSTER else None,
        mutual=_mutual(bind, number, ended, doors, refused),
    )
    if passed:
        doors.append(Door("", port.name, passed))
    return port


def _mutual(bind: str, number: int, servers: list[_Server], doors: list[Door], refused: list[RefusedServer]) -> tuple[MutualServer, ...]:
    """The ISTIO_MUTUAL servers on a port, by route. Envoy refuses two filter chains with one match, so the first server keeps a name."""
    holders: dict[str, tuple[str, ObjectKey]] = {}
    made_of: dict[str, list[Admitter]] = {}
    for written, admits in servers:
        route = gateway_tls_route(number, written.port_name, admits.gateway.name, admits.gateway.namespace, bind)
        kept = []
        for pattern in admits.hosts:
            held_by, holder = holders.setdefault(pattern.name, (route, admits.gateway))
            if held_by == route:
                kept.append(pattern)
            else:
                refused.append(admits.refused(Refusal.SERVER_CONFLICT, host=pattern.name, holder=holder))
        if kept:
            made_of.setdefault(route, []).append(admits._replace(hosts=tuple(kept)))
    doors.extend(Door(route, "", tuple(admitters)) for route, admitters in made_of.items())
    names = {route: {pattern.name for admits in admitters for pattern in admits.hosts} for route, admitters in made_of.items()}
    return tuple(MutualServer(route, tuple(sorted(names[route]))) for route in sorted(names))


def _patterns(servers: tuple[Admitter, ...], domain: str) -> tuple[str, ...]:
    """What SNI names of services that the servers' hosts admit look like, sorted; "*" among them is any.

    An SNI ends in the service's host name, which says its namespace.
    """
    found = {_pattern(pattern, domain) for server in servers for pattern in server.hosts}
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
