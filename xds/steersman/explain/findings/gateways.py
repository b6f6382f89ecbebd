"""Istio Gateways: whom they select, and what of their servers is served."""

from collections.abc import Iterator

from steersman.explain.findings.kinds import SERVER_FINDINGS
from steersman.explain.findings.mesh import Mesh, Step
from steersman.model.facts import Finding
from steersman.model.ids import ClusterID, IPFamily, Labels, selects
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Gateway, Kind, TLSMode
from steersman.model.proxy import ProxyType
from steersman.registry.collections import GATEWAYS, PODS, PROXIES
from steersman.views.collections import SERVERS, STANDPOINTS
from steersman.views.listeners import Refusal, RefusedServer, ServerKind
from steersman.views.scopes import Router

_WORDS = {
    Refusal.UNSUPPORTED_TLS: ("its tls.mode is not served here", "use AUTO_PASSTHROUGH or ISTIO_MUTUAL, or no tls with HTTP"),
    Refusal.UNSUPPORTED_PROTOCOL: (
        "its protocol is not served here, or not with this tls.mode",
        "use HTTP, HTTP2 or GRPC without tls, TLS with AUTO_PASSTHROUGH, or HTTPS with ISTIO_MUTUAL",
    ),
    Refusal.BAD_HOST: ("it is no DNS name", "write [NAMESPACE/]DNSNAME, where DNSNAME may be * or begin with *."),
    Refusal.BAD_BIND: ("its bind is no IP address", "write an IP address, or leave bind out for all"),
    Refusal.SERVER_CONFLICT: ("{holder} has this port, or this name, in another way", "give them ports of their own, or make them agree"),
}


def gateways(mesh: Mesh) -> Iterator[Step]:
    """Each Istio Gateway, as if it stood alone."""
    routers = _routers(mesh)
    for key in mesh.keys(GATEWAYS):
        gateway = mesh.rows(GATEWAYS).get(key)
        if gateway is not None:
            yield _selection(mesh, gateway, routers), _servers(mesh, gateway)


def _routers(mesh: Mesh) -> list[tuple[ClusterID, Labels]]:
    """Connected routers may run anywhere, not only in Pods."""
    ids = [proxy.id for proxy in mesh.rows(PROXIES).values() if proxy.type is ProxyType.ROUTER]
    standpoints = (mesh.read(STANDPOINTS, node_id) for node_id in ids)
    return [(standpoint.cluster, standpoint.labels) for standpoint in standpoints if standpoint is not None]


def _selection(mesh: Mesh, gateway: Gateway, routers: list[tuple[ClusterID, Labels]]) -> Iterator[Finding]:
    cluster = gateway.key.cluster
    if not gateway.selector or any(at == cluster and selects(gateway.selector, labels) for at, labels in routers):
        return
    if any(pod.key.cluster == cluster and selects(gateway.selector, pod.labels) for pod in mesh.rows(PODS).values()):
        return
    wanted = ",".join(f"{name}={value}" for name, value in gateway.selector)
    yield mesh.finding(
        "gateway-selects-nothing",
        ObjectRef(Kind.GATEWAY, gateway.key),
        f"no Pod of cluster {cluster} and no connected router there is labelled {wanted}",
        "correct spec.selector, or start the gateway that it means",
    )


def _servers(mesh: Mesh, gateway: Gateway) -> Iterator[Finding]:
    scope = Router(gateway.key.namespace, gateway.key.cluster, (gateway.key,), frozenset(IPFamily))
    served = mesh.read(SERVERS, scope)
    for refused in served.refused:
        if refused.reason in SERVER_FINDINGS:
            yield refused_server(mesh, gateway, refused)
    automatic = [server for server in gateway.servers if server.tls_mode is TLSMode.AUTO_PASSTHROUGH]
    if automatic and not any(port.passthrough for port in served.ports if port.kind is ServerKind.TLS):
        hosts = ", ".join(sorted({host for server in automatic for host in server.hosts}))
        yield mesh.finding(
            "passthrough-admits-nothing",
            ObjectRef(Kind.GATEWAY, gateway.key),
            f"its AUTO_PASSTHROUGH servers admit no service: none with mTLS endpoints has a host among {hosts}",
            f'write hosts that cover services, such as "*.{mesh.config.domain}", and check that their Pods speak mTLS',
        )


def refused_server(mesh: Mesh, gateway: Gateway, refused: RefusedServer) -> Finding:
    """What a server does not get."""
    written = gateway.servers[refused.index]
    server = f"server {written.port_name or written.port} ({written.protocol}{' ' + written.tls_mode if written.tls_mode else ''})"
    what = f"host {refused.host!r} of {server}" if refused.host else server
    cause, remedy = _WORDS[refused.reason]
    holder = f"Gateway {refused.holder}" if refused.holder else "another Gateway"
    return mesh.finding(
        SERVER_FINDINGS[refused.reason],
        ObjectRef(Kind.GATEWAY, gateway.key),
        f"{what} is left out: {cause.format(holder=holder)}",
        remedy,
    )
