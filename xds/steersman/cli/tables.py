"""Resources as rows, in istioctl's columns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from steersman.admin.protojson import message_of
from steersman.cli.filters import health_of
from steersman.model.ids import Locality
from steersman.names import parse_cluster

Row = Sequence[str]
Rows = Callable[[str, Any], Iterable[Row]]
"""The rows of one resource: its name, and its message (None while it waits for something)."""

_HTTP_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_DOMAINS = 3
"""So many domains of a virtual host are shown."""


def clusters(name: str, message: Any) -> Iterator[Row]:
    kind = Cluster.DiscoveryType.Name(message.type)
    parsed = parse_cluster(name)
    if parsed is None:
        yield (name, "", "", "", kind)
    else:
        yield (parsed.host, str(parsed.port), parsed.subset, "passthrough" if "_." in name else parsed.direction, kind)


def endpoints(name: str, message: Any) -> Iterator[Row]:
    for group in message.endpoints:
        place = str(Locality(group.locality.region, group.locality.zone, group.locality.sub_zone))
        for member in group.lb_endpoints:
            socket = member.endpoint.address.socket_address
            weight = str(member.load_balancing_weight.value)
            yield (_joined(socket.address, socket.port_value), health_of(member), weight, str(group.priority), place, name)


def listeners(name: str, message: Any) -> Iterator[Row]:
    if message.HasField("api_listener"):
        yield (name, "", "ALL", _http(message.api_listener.api_listener.value))
        return
    addresses = [message.address, *(more.address for more in message.additional_addresses)]
    at = ",".join(dict.fromkeys(address.socket_address.address for address in addresses))
    port = str(message.address.socket_address.port_value)
    chains = [*message.filter_chains, *([message.default_filter_chain] if message.HasField("default_filter_chain") else [])]
    for chain in chains:
        yield (at, port, _match(chain.filter_chain_match), _destination(chain.filters))
    if not chains:
        yield (at, port, "ALL", "")


def _match(match: Any) -> str:
    parts = []
    for title, values in (("SNI", match.server_names), ("App", match.application_protocols)):
        if values:
            parts.append(f"{title}: {','.join(values)}")
    if match.transport_protocol:
        parts.append(f"Trans: {match.transport_protocol}")
    if match.prefix_ranges:
        parts.append("Addr: " + ",".join(f"{prefix.address_prefix}/{prefix.prefix_len.value}" for prefix in match.prefix_ranges))
    if match.HasField("destination_port"):
        parts.append(f"Port: {match.destination_port.value}")
    return "; ".join(parts) or "ALL"


def _destination(filters: Any) -> str:
    for one in filters:
        if one.typed_config.type_url == _HTTP_MANAGER:
            return _http(one.typed_config.value)
        if one.typed_config.type_url == _TCP_PROXY:
            proxy: Any = message_of(_TCP_PROXY, one.typed_config.value)
            if proxy.HasField("weighted_clusters"):
                return "Clusters: " + ",".join(f"{cluster.name} ({cluster.weight})" for cluster in proxy.weighted_clusters.clusters)
            return f"Cluster: {proxy.cluster}"
    return "Filters: " + ",".join(one.name for one in filters) if filters else "closed"


def _http(value: bytes) -> str:
    manager: Any = message_of(_HTTP_MANAGER, value)
    if manager.HasField("rds"):
        return f"Route: {manager.rds.route_config_name}"
    routes = [route for host in manager.route_config.virtual_hosts for route in host.routes]
    return "Inline Route: " + ", ".join(f"{_path(route.match)} -> {_leads_to(route)}" for route in routes)


def routes(name: str, message: Any) -> Iterator[Row]:
    for host in message.virtual_hosts:
        domains = ", ".join(host.domains[:_DOMAINS])
        if len(host.domains) > _DOMAINS:
            domains += f" + {len(host.domains) - _DOMAINS} more..."
        for route in host.routes:
            yield (name, host.name, domains, _path(route.match), _leads_to(route))
    if not message.virtual_hosts:
        yield (name, "", "", "", "")


def _path(match: Any) -> str:
    kind = match.WhichOneof("path_specifier")
    if kind in ("prefix", "path_separated_prefix"):
        return f"{getattr(match, kind).removesuffix('/')}/*"
    if kind == "safe_regex":
        return f"regex {match.safe_regex.regex}"
    return str(getattr(match, kind)) if kind else ""


def _leads_to(route: Any) -> str:
    kind = route.WhichOneof("action")
    if kind == "direct_response":
        return f"status {route.direct_response.status}"
    if kind != "route":
        return kind or ""
    target = route.route.WhichOneof("cluster_specifier")
    if target == "weighted_clusters":
        return ",".join(f"{cluster.name} ({cluster.weight.value})" for cluster in route.route.weighted_clusters.clusters)
    return str(getattr(route.route, target)) if target else ""


def secrets(name: str, message: Any) -> Iterator[Row]:
    from cryptography import x509

    if message is None:
        yield (name, "", "WAITING", "", "", "", "")
        return
    own = message.HasField("tls_certificate")
    source = message.tls_certificate.certificate_chain if own else message.validation_context.trusted_ca
    kind = "Cert Chain" if own else "CA"
    pem = source.inline_bytes or source.inline_string.encode()
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        yield (name, kind, "ACTIVE", "false", "", "", "")
        return
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    valid = str(since <= datetime.now(UTC) <= until).lower()
    yield (name, kind, "ACTIVE", valid, f"{certificate.serial_number:x}", f"{until:%Y-%m-%dT%H:%M:%SZ}", f"{since:%Y-%m-%dT%H:%M:%SZ}")


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


TABLES: dict[str, tuple[Row, Rows]] = {
    "cds": (("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE"), clusters),
    "eds": (("ENDPOINT", "STATUS", "WEIGHT", "PRIORITY", "LOCALITY", "CLUSTER"), endpoints),
    "lds": (("ADDRESSES", "PORT", "MATCH", "DESTINATION"), listeners),
    "rds": (("NAME", "VHOST NAME", "DOMAINS", "MATCH", "DESTINATION"), routes),
    "sds": (("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"), secrets),
}
