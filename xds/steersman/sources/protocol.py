"""What a service port speaks: appProtocol, else the prefix of the port's name, else TCP."""

from steersman.model.objects import Protocol

_KUBERNETES = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.TCP,  # TLS on the wire
}
_NAMED = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "udp": Protocol.UDP,
}
"""Every other name (tcp, tls, https, mongo, mysql, redis, ...) is TCP: it is passed through as it is."""


def port_protocol(transport: str, app_protocol: str, name: str) -> Protocol:
    """`transport`: TCP or UDP. An appProtocol hides the name, even one that isn't known, as in Istio. `grpc-web` needs what gRPC needs."""
    if transport == "UDP":
        return Protocol.UDP
    told = (app_protocol or name).lower()
    if told in _KUBERNETES:
        return _KUBERNETES[told]
    protocol = _NAMED.get(told.partition("-")[0], Protocol.TCP)
    return Protocol.TCP if protocol is Protocol.UDP else protocol
