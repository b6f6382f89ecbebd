"""networking.istio.io Gateway, in any of its versions: they differ in name only."""

from steersman.model.ids import ObjectKey, canonical_ip, labels_of
from steersman.model.objects import Gateway, GatewayServer, TLSMode
from steersman.sources import shapes
from steersman.sources.report import Report

_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
_PROTOCOLS = (*_PLAIN, "HTTPS", "MONGO", "TCP", "TLS")
_MODES = tuple(mode for mode in TLSMode if mode is not TLSMode.NONE)


def gateway_of(key: ObjectKey, shape: shapes.Gateway, report: Report) -> Gateway:
    """The row of a Gateway. A server that can't be used is left out and reported."""
    spec = shape.spec or shapes.GatewaySpec()
    servers = (_server(f"spec.servers[{number}]", server, report) for number, server in enumerate(spec.servers or []))
    return Gateway(
        key=key,
        created=shape.metadata.creation_timestamp or "",
        selector=labels_of(spec.selector),
        servers=tuple(server for server in servers if server is not None),
    )


def _server(path: str, shape: shapes.Server, report: Report) -> GatewayServer | None:
    port = shape.port or shapes.GatewayPort()
    protocol = (port.protocol or "").upper()
    mode = _tls_mode(shape.tls, protocol)
    if port.number is None or not 1 <= port.number <= 65535:
        _left_out(f"{path}.port.number is {port.number}", "write a number from 1 to 65535", report)
    elif protocol not in _PROTOCOLS:
        _left_out(f"{path}.port.protocol is {port.protocol!r}", f"write one of {', '.join(_PROTOCOLS)}", report)
    elif not shape.hosts:
        _left_out(f"{path}.hosts is empty", 'write the hosts that it serves, such as "*.local"', report)
    elif mode is None:
        _left_out(f"{path}.tls.mode is {shape.tls.mode if shape.tls else None!r}", f"write one of {', '.join(_MODES)}", report)
    else:
        bind = canonical_ip(shape.bind) if shape.bind else ""
        if bind is None:
            report("bad-address", f"{path}.bind is {shape.bind!r}, which is no IP address, and is ignored", "write an IPv4 or IPv6 address")
        return GatewayServer(
            port=port.number,
            port_name=port.name or "",
            protocol=protocol,
            hosts=tuple(sorted(shape.hosts)),
            tls_mode=mode,
            bind=bind or "",
        )
    return None


def _left_out(cause: str, remedy: str, report: Report) -> None:
    report("bad-gateway-server", f"{cause}, so this server is left out", remedy)


def _tls_mode(tls: shapes.ServerTLS | None, protocol: str) -> TLSMode | None:
    """Istio's default is PASSTHROUGH; what plain HTTP has under `tls` is its redirect. None: not a mode."""
    if tls is None or protocol in _PLAIN:
        return TLSMode.NONE
    mode = tls.mode or TLSMode.PASSTHROUGH
    return TLSMode(mode) if mode in _MODES else None
