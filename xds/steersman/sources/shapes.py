"""Kubernetes' and Istio's objects as JSON has them: only the fields that are used, all else is skipped unread.

Anything may be null, as API servers and `kubectl` write it. A field of another type than stated here makes the object invalid.
"""

import msgspec


class Shape(msgspec.Struct, gc=False, rename="camel"):
    """Base of what is decoded and flattened at once."""


class Metadata(Shape):
    name: str | None = None
    namespace: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Object(Shape):
    """Base of what is decoded of a kind."""

    metadata: Metadata


class Anonymous(Shape):
    """Only metadata, for naming what can't be decoded in full."""

    metadata: Metadata | None = None


class Secret(Object):
    """Its values in base64. No fact comes of it."""

    data: dict[str, str] | None = None


class ServicePort(Shape):
    port: int
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(Shape):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str | None] | None = msgspec.field(default=None, name="clusterIPs")
    ip_families: list[str] | None = None
    external_name: str | None = None
    external_ips: list[str | None] | None = msgspec.field(default=None, name="externalIPs")
    ports: list[ServicePort] | None = None
    selector: dict[str, str] | None = None
    publish_not_ready_addresses: bool | None = None
    internal_traffic_policy: str | None = None


class Ingress(Shape):
    ip: str | None = None
    hostname: str | None = None


class LoadBalancer(Shape):
    ingress: list[Ingress] | None = None


class ServiceStatus(Shape):
    load_balancer: LoadBalancer | None = None


class Service(Object):
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class SlicePort(Shape):
    name: str | None = None
    port: int | None = None


class Conditions(Shape):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Shape):
    kind: str | None = None
    name: str | None = None


class SliceEndpoint(Shape):
    addresses: list[str | None] | None = None
    conditions: Conditions | None = None
    target_ref: TargetRef | None = None
    node_name: str | None = None
    zone: str | None = None


class EndpointSlice(Object):
    """`endpoints`: SliceEndpoints, each to be decoded by itself: of a slice that has changed, most are as they were."""

    address_type: str | None = None
    ports: list[SlicePort] | None = None
    endpoints: list[msgspec.Raw] | None = None


class ContainerPort(Shape):
    container_port: int | None = None
    name: str | None = None


class Container(Shape):
    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None


class PodSpec(Shape):
    node_name: str | None = None
    service_account_name: str | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodIP(Shape):
    ip: str | None = None


class Condition(Shape):
    type: str | None = None
    status: str | None = None


class PodStatus(Shape):
    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = msgspec.field(default=None, name="podIPs")
    conditions: list[Condition] | None = None


class Pod(Object):
    spec: PodSpec | None = None
    status: PodStatus | None = None


class NodeAddress(Shape):
    type: str | None = None
    address: str | None = None


class NodeStatus(Shape):
    addresses: list[NodeAddress] | None = None


class Node(Object):
    status: NodeStatus | None = None


class Namespace(Object):
    """Its labels are all."""


class GatewayPort(Shape):
    number: int | None = None
    name: str | None = None
    protocol: str | None = None


class ServerTLS(Shape):
    mode: str | None = None


class Server(Shape):
    port: GatewayPort | None = None
    hosts: list[str] | None = None
    tls: ServerTLS | None = None
    bind: str | None = None


class GatewaySpec(Shape):
    selector: dict[str, str] | None = None
    servers: list[Server] | None = None


class Gateway(Object):
    spec: GatewaySpec | None = None
