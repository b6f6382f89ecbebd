"""What proxies listen on, decided: the values that listeners and routes are made of, with what was refused and why.

Each listener is a key of its own that says all of it, so that proxies that stand in different places share the bytes of those that come out
equal.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from steersman.model.ids import IPFamily, ObjectKey, ServicePortKey
from steersman.model.objects import Protocol, Row
from steersman.names import VIRTUAL_OUTBOUND, http_listener, tcp_listener
from steersman.views.scopes import Inbound


class CaptureListener(NamedTuple):
    """Where captured outbound connections arrive before the listener of their original destination takes over, or none does."""

    families: frozenset[IPFamily]
    transparent: bool

    @property
    def name(self) -> str:
        return VIRTUAL_OUTBOUND


class HTTPListener(NamedTuple):
    """All HTTP services on one port number, told apart by Host. `bind`: the address to bind really; "" for captured connections to any
    address of `families`. `on_demand`: the cluster that a request goes to is asked for when it isn't there."""

    port: int
    families: frozenset[IPFamily]
    bind: str = ""
    on_demand: bool = False

    @property
    def name(self) -> str:
        return http_listener(self.port)


class TCPListener(NamedTuple):
    """One address of a TCP service. `cluster`: where it leads. `bound`: really bound, not only matched by the destination of captured
    connections, which its name doesn't tell: `vip` is the service's own address then, "" where it has none. `pod`: the address is a pod's
    of a headless service, and only that pod may answer. `on_demand`: the cluster is asked for when it isn't there."""

    address: str
    port: int
    cluster: str
    bound: bool = False
    pod: bool = False
    vip: str = ""
    on_demand: bool = False

    @property
    def name(self) -> str:
        return tcp_listener(self.vip or self.address, self.port)


OutboundListener = CaptureListener | HTTPListener | TCPListener


class Refusal(StrEnum):
    """Why a proxy does not get a listener, a route's host or a gateway's server."""

    ADDRESS_TAKEN = "address-taken"  # another service has this address and port
    PORT_TAKEN = "port-taken"  # interception NONE: another service is bound there
    OWN_PORT = "own-port"  # the workload itself, or its proxy, listens there
    LOW_PORT = "low-port"  # interception NONE: under 1024 without UNPRIVILEGED_PORTS
    NO_ADDRESS = "no-address"  # no address to be captured at: TCP is out of reach, HTTP goes by Host only
    NOT_PROXIED = "not-proxied"  # UDP
    HOST_TAKEN = "host-taken"  # another service answers to this name or address
    NO_TARGET_PORT = "no-target-port"  # a named target port that the workload's containers don't have
    PROTOCOL_CONFLICT = "protocol-conflict"  # two service ports with one target speak different protocols
    NOT_MTLS = "not-mtls"  # AUTO_PASSTHROUGH: no endpoint speaks mTLS
    NETWORK_GATEWAY = "network-gateway"  # AUTO_PASSTHROUGH: it is a network's gateway itself
    UNSUPPORTED_TLS = "unsupported-tls"  # the server's tls.mode
    UNSUPPORTED_PROTOCOL = "unsupported-protocol"  # the server's protocol, or the two don't go together
    BAD_HOST = "bad-host"  # neither a DNS name, nor *.SUFFIX, nor *
    BAD_BIND = "bad-bind"  # no IP address
    SERVER_CONFLICT = "server-conflict"  # another server has this port in another way


class Refused(Row, frozen=True, kw_only=True):
    """What a service port does not get. `at`: the address:port or name in question, "" where it's all of it. `holder`: who has it, where
    someone has."""

    service: ServicePortKey
    reason: Refusal
    at: str = ""
    holder: ServicePortKey | None = None


class RefusedServer(Row, frozen=True, kw_only=True):
    """What a server of an Istio Gateway does not get: all of it, one of its hosts, or one service port that its hosts would admit. `index`:
    which of the gateway's servers, from 0. `holder`: the Gateway that has it, where one has."""

    gateway: ObjectKey
    index: int
    reason: Refusal
    host: str = ""
    service: ServicePortKey | None = None
    holder: ObjectKey | None = None


class Callee(Row, frozen=True, kw_only=True):
    """A port of a service as clients call it, wherever they stand. `cluster`: the name of the one that leads there. `hosts`: of an HTTP
    port, every Host that names it, with and without the number, but for the bare name, which only clients of its own namespace may use.
    `external`: its endpoints are the proxy's to resolve. `cluster_local`, `node_local`: see MeshService."""

    port: ServicePortKey
    cluster: str
    hosts: tuple[str, ...]
    external: bool
    cluster_local: bool
    node_local: bool

    @property
    def authority(self) -> str:
        """HOST:PORT, in full; only of an HTTP port."""
        return self.hosts[1]


class VirtualHost(NamedTuple):
    """A service port in a route. `domains`: every Host that names it, the full name first."""

    name: str
    cluster: str
    domains: tuple[str, ...]


class HTTPClaim(NamedTuple):
    """An HTTP port that is told apart by Host. `host`: by every name but the bare one, which only clients of its own namespace may use."""

    service: ServicePortKey
    host: VirtualHost


class Claims(Row, frozen=True, kw_only=True):
    """What one service asks for. `created`: in disputes the older wins, then the lower key. `http`: its ports that are told apart by Host.
    `tcp`: its listeners at addresses of its own. `named`: its TCP ports with their clusters, which with interception NONE are told apart by
    number only, and the VIP that names their listeners, or "". `refused`: what it can't have whoever else is there."""

    created: str = ""
    http: tuple[HTTPClaim, ...] = ()
    tcp: tuple[tuple[ServicePortKey, TCPListener], ...] = ()
    named: tuple[tuple[ServicePortKey, str, str], ...] = ()
    refused: tuple[Refused, ...] = ()


class OutboundPorts(Row, frozen=True, kw_only=True):
    """Who gets which outbound listener. `listeners`: by name, each name once. `http`: (port number, the claims behind its Host routing,
    oldest first), by number."""

    listeners: tuple[OutboundListener, ...]
    http: tuple[tuple[int, tuple[HTTPClaim, ...]], ...]
    refused: tuple[Refused, ...] = ()


class RouteHosts(Row, frozen=True, kw_only=True):
    """The virtual hosts of one outbound route, by name; no domain stands twice. `unknown_passes`: whether a Host that names none of them is
    passed on to where the client meant to go."""

    hosts: tuple[VirtualHost, ...]
    unknown_passes: bool
    refused: tuple[Refused, ...] = ()


class InboundPorts(Row, frozen=True, kw_only=True):
    """On which ports a workload is called. `scope` is what its inbound listeners and clusters are made of. `called`: every port on which
    its application is called, sorted, those without a listener as well."""

    scope: Inbound
    called: tuple[int, ...] = ()
    refused: tuple[Refused, ...] = ()


class ServerKind(StrEnum):
    """What the servers on one port do: HTTP in plaintext, or TLS, told apart by SNI."""

    HTTP = "http"
    TLS = "tls"


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


class Admitter(NamedTuple):
    """A server of an Istio Gateway (see RefusedServer), with those of its hosts that can be matched. `number`: its port as written."""

    gateway: ObjectKey
    place: int
    number: int
    hosts: tuple[HostPattern, ...]

    def covers(self, host: str, namespace: str) -> bool:
        return any(pattern.covers(host, namespace) for pattern in self.hosts)

    def refused(
        self, reason: Refusal, service: ServicePortKey | None = None, host: str = "", holder: ObjectKey | None = None
    ) -> RefusedServer:
        return RefusedServer(gateway=self.gateway, index=self.place, reason=reason, service=service, host=host, holder=holder)


class Door(NamedTuple):
    """Where services are let in: by Host into a route, or by SNI at a listener; the other is ""."""

    route: str
    listener: str
    servers: tuple[Admitter, ...]


class Doors(Row, frozen=True, kw_only=True, cache_hash=True):
    """All doors of a router, and the mesh's domain. A lookup for each service is made by it, so it hashes once."""

    domain: str
    doors: tuple[Door, ...]


class PassthroughService(NamedTuple):
    """A service port that AUTO_PASSTHROUGH servers admit. `sni`: what clients say, and the passthrough cluster's name."""

    service: ServicePortKey
    sni: str
    protocol: Protocol


class Admission(Row, frozen=True, kw_only=True):
    """By which doors one service is let in. `hosts`: (route, its virtual host there). `passthrough`: (listener, a port of it)."""

    hosts: tuple[tuple[str, VirtualHost], ...] = ()
    passthrough: tuple[tuple[str, PassthroughService], ...] = ()
    refused: tuple[RefusedServer, ...] = ()


class MutualServer(NamedTuple):
    """An ISTIO_MUTUAL server with HTTP inside. `route`: its route's name. `server_names`: SNI to match, sorted; with "*" among them any."""

    route: str
    server_names: tuple[str, ...]


class ServerPort(Row, frozen=True, kw_only=True):
    """What a router listens for on one port, all servers merged. `port`: where it really listens. `bind`: the address that they name; ""
    for any address of the router's families. `route`: with HTTP, the route's name. `passthrough`: admitted service ports, by SNI;
    `patterns`: with mesh.passthrough sniCluster the SNI patterns that stand for them, sorted, and with "*" among them any; None with
    filterChains. `mutual`: by route; no server name stands twice."""

    port: int
    kind: ServerKind
    bind: str = ""
    route: str = ""
    passthrough: tuple[PassthroughService, ...] = ()
    patterns: tuple[str, ...] | None = None
    mutual: tuple[MutualServer, ...] = ()

    @property
    def name(self) -> str:
        return tcp_listener(self.bind, self.port) if self.bind else http_listener(self.port)


class ServerPorts(Row, frozen=True, kw_only=True):
    """A router's ports, before anyone is admitted: `passthrough` is empty everywhere."""

    ports: tuple[ServerPort, ...]
    doors: Doors
    refused: tuple[RefusedServer, ...]


class Servers(Row, frozen=True, kw_only=True):
    """All that a router's Istio Gateways ask for. `ports`: by listener name. `routes`: (route name, its virtual hosts), by name."""

    ports: tuple[ServerPort, ...] = ()
    routes: tuple[tuple[str, tuple[VirtualHost, ...]], ...] = ()
    refused: tuple[RefusedServer, ...] = ()

    @property
    def passthrough(self) -> tuple[PassthroughService, ...]:
        """What needs a passthrough cluster, by SNI, each once."""
        return tuple(sorted({service for port in self.ports for service in port.passthrough}, key=lambda service: service.sni))


def with_and_without(port: int, hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        yield host
        yield f"{host}:{port}"
