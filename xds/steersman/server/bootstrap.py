"""The configuration that an Envoy starts with: who it is, and where its control plane is. All else comes over ADS. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from steersman.errors import ConfigError, InvalidObject
from steersman.model.ids import Locality
from steersman.model.proxy import Interception
from steersman.names import parse_node_id

XDS_CLUSTER = "xds-grpc"
"""Name of the one static cluster: the control plane. Istio's, so that dashboards find its statistics."""

_BACK_OFF = {"base_interval": "0.5s", "max_interval": "5s"}
"""Between attempts to reach the control plane, jittered. Envoy's own go up to 30 s, for which a proxy may miss a server that is back."""

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Mode(StrEnum):
    """The ADS protocol a proxy speaks: DELTA sends what changed, SOTW all that is subscribed of a type."""

    DELTA = "delta"
    SOTW = "sotw"


def envoy_bootstrap(
    *,
    node_id: str,
    xds: str = "127.0.0.1:15010",
    admin: str | None = "127.0.0.1:15000",
    mode: Mode = Mode.DELTA,
    node_cluster: str = "",
    metadata: Mapping[str, Any] | None = None,
    locality: Locality | None = None,
    load_reports: bool = False,
) -> dict[str, Any]:
    """An envoy.config.bootstrap.v3.Bootstrap in proto3 JSON, which `envoy --config-path` takes.

    `xds`, `admin`: HOST:PORT, [IPV6]:PORT or unix:PATH; `admin` None: none. `node_cluster` is Envoy's Node.cluster, by Istio's
    custom the workload's name (by default the one in the node id, as Envoy refuses CDS without one); the Kubernetes cluster goes into
    `metadata` as CLUSTER_ID (see node_metadata).
    `load_reports`: it tells the control plane what it sends where. Raises ConfigError for an address that is none of these.
    """
    node: dict[str, Any] = {"id": node_id, "cluster": node_cluster or _workload_of(node_id)}
    if parts := {key: value for key, value in zip(("region", "zone", "sub_zone"), locality or (), strict=False) if value}:
        node["locality"] = parts
    if metadata:
        node["metadata"] = dict(metadata)
    over_ads = {"ads": {}, "resource_api_version": "V3"}
    bootstrap: dict[str, Any] = {
        "node": node,
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if mode is Mode.DELTA else "GRPC",
                "transport_api_version": "V3",
                # A Node is about 60 KB, most of it the list of extensions; without this it goes with every request.
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": _BACK_OFF}}}],
            },
            "cds_config": over_ads,
            "lds_config": over_ads,
        },
        "static_resources": {"clusters": [_xds_cluster(xds)]},
    }
    if load_reports:
        bootstrap["cluster_manager"] = {
            "load_stats_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            }
        }
    if admin is not None:
        bootstrap["admin"] = {"address": _address("admin", admin)}
    return bootstrap


def _workload_of(node_id: str) -> str:
    try:
        known = parse_node_id(node_id)
    except InvalidObject:
        return node_id
    return f"{known.name}.{known.namespace}"


def node_metadata(
    *,
    cluster: str = "",
    network: str = "",
    namespace: str = "",
    labels: Mapping[str, str] | None = None,
    service_account: str = "",
    workload: str = "",
    instance_ips: Sequence[str] = (),
    network_view: Sequence[str] = (),
    interception: Interception = Interception.REDIRECT,
    generator: str = "",
    outbound_address: str = "",
    app_address: str = "",
    unprivileged_ports: bool = False,
    on_demand_clusters: bool = False,
) -> dict[str, Any]:
    """Node metadata under Istio's names; what is empty is left out, so that the control plane infers it and says so."""
    metadata: dict[str, Any] = {
        "CLUSTER_ID": cluster,
        "NETWORK": network,
        "NAMESPACE": namespace,
        "LABELS": dict(labels or {}),
        "SERVICE_ACCOUNT": service_account,
        "WORKLOAD_NAME": workload,
        "INSTANCE_IPS": ",".join(instance_ips),
        "REQUESTED_NETWORK_VIEW": list(network_view),
        "INTERCEPTION_MODE": interception.value,
        "GENERATOR": generator,
        "OUTBOUND_ADDRESS": outbound_address,
        "APP_ADDRESS": app_address,
        "UNPRIVILEGED_PORTS": "true" if unprivileged_ports else "",
        "ON_DEMAND_CLUSTERS": "true" if on_demand_clusters else "",
    }
    return {key: value for key, value in metadata.items() if value}


def _xds_cluster(xds: str) -> dict[str, Any]:
    address = _address("xds", xds)
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC" if "pipe" in address or _is_ip(address["socket_address"]["address"]) else "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": XDS_CLUSTER, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                # Without pings a control plane whose machine vanished is noticed only when TCP gives up, a quarter of an hour later.
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}},
            }
        },
    }


def _address(what: str, text: str) -> dict[str, Any]:
    if path := text.removeprefix("unix:") if text.startswith("unix:") else "":
        return {"pipe": {"path": path}}
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    bare_ipv6 = ":" in host and not text.startswith("[")
    if not colon or not host or bare_ipv6 or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError("bootstrap", f"{what} address", text, "HOST:PORT, [IPV6]:PORT or unix:PATH")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
