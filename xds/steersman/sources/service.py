"""v1 Service."""

import re

import msgspec

from steersman.errors import InvalidObject
from steersman.model.facts import Severity
from steersman.model.ids import IPFamily, Labels, ObjectKey, canonical_ip, label, labels_of
from steersman.model.objects import Port, Service, ServiceType
from steersman.names import DEFAULT_GATEWAY_PORT, GATEWAY_PORT_LABEL
from steersman.sources import shapes
from steersman.sources.protocol import port_protocol
from steersman.sources.report import Report

_EXPORT_TO = "networking.istio.io/exportTo"
_NODE_SELECTOR = "traffic.istio.io/nodeSelector"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?|[*.~]")
_HOSTNAME = re.compile(r"[a-z0-9_]([-a-z0-9_.]{0,251}[a-z0-9_])?")


def service_of(key: ObjectKey, shape: shapes.Service, report: Report) -> Service:
    """The row of a Service. A mistake in a part of it costs that part and is reported. Raises InvalidObject for an unknown type."""
    spec = shape.spec or shapes.ServiceSpec()
    kind = _type(spec.type or "ClusterIP")
    external = kind is ServiceType.EXTERNAL_NAME
    written = [] if external else [ip for ip in spec.cluster_ips or [spec.cluster_ip] if ip]
    cluster_ips = addresses([ip for ip in written if ip != "None"], "spec.clusterIPs", report)
    metadata = shape.metadata
    annotations = metadata.annotations or {}
    labels = labels_of(metadata.labels)
    _check_gateway_port(labels, report)
    return Service(
        key=key,
        created=metadata.creation_timestamp or "",
        type=kind,
        headless="None" in written,
        cluster_ips=cluster_ips,
        families=_families(spec.ip_families, cluster_ips, report),
        external_name=_external_name(spec.external_name or "", report) if external else "",
        ports=_ports(spec.ports or [], report),
        selector=labels_of(spec.selector),
        labels=labels,
        export_to=_export_to(annotations.get(_EXPORT_TO, ""), key.namespace, report),
        node_selector=_node_selector(annotations.get(_NODE_SELECTOR, ""), report),
        publish_not_ready=bool(spec.publish_not_ready_addresses),
        node_local=spec.internal_traffic_policy == "Local",
        ingress=_ingress(shape.status, report),
        external_ips=addresses(spec.external_ips or [], "spec.externalIPs", report),
    )


def _type(text: str) -> ServiceType:
    try:
        return ServiceType(text)
    except ValueError as error:
        raise InvalidObject(f"spec.type: expected one of {', '.join(ServiceType)}, got {text!r}") from error


def addresses(texts: list[str | None], path: str, report: Report) -> tuple[str, ...]:
    """The canonical forms of the addresses under this path, in order; those that are none are reported and left out."""
    found = []
    for number, text in enumerate(texts):
        address = canonical_ip(text) if text else None
        if address is None:
            bad_address(f"{path}[{number}]", text, report)
        else:
            found.append(address)
    return tuple(found)


def bad_address(path: str, text: str | None, report: Report) -> None:
    report("bad-address", f"{path} is {text!r}, which is no IP address, and is left out", "write an IPv4 or IPv6 address")


def _families(written: list[str] | None, cluster_ips: tuple[str, ...], report: Report) -> tuple[IPFamily, ...]:
    """spec.ipFamilies, else the families of the cluster IPs."""
    families: list[IPFamily] = []
    for number, text in enumerate(written or []):
        if text in IPFamily.__members__.values():
            families.append(IPFamily(text))
        else:
            report("bad-ip-family", f"spec.ipFamilies[{number}] is {text!r} and is left out", "write IPv4 or IPv6")
    if not families:
        families = [IPFamily.IPV6 if ":" in ip else IPFamily.IPV4 for ip in cluster_ips]
    return tuple(dict.fromkeys(families))


def _external_name(text: str, report: Report) -> str:
    name = canonical_ip(text) or text.lower().removesuffix(".")
    if ":" not in name and not _HOSTNAME.fullmatch(name):
        report(
            "bad-external-name",
            f"spec.externalName is {text!r}, which is no hostname, so the service has no endpoints",
            "write the hostname that the service stands for",
            Severity.ERROR,
        )
        return ""
    return name


def _ports(written: list[shapes.ServicePort], report: Report) -> tuple[Port, ...]:
    ports: list[Port] = []
    taken: set[tuple[int, str]] = set()
    for number, shape in enumerate(written):
        path = f"spec.ports[{number}]"
        transport = shape.protocol or "TCP"
        if not 1 <= shape.port <= 65535:
            report("bad-port", f"{path}.port is {shape.port}, so this port is left out", "write a number from 1 to 65535")
        elif transport not in ("TCP", "UDP"):
            report(
                "port-protocol-not-served",
                f"{path} ({shape.port}) is {transport}, and is left out",
                "nothing, where it is SCTP: Envoy has no proxy for it; else write TCP or UDP",
                Severity.INFO if transport == "SCTP" else Severity.WARNING,
            )
        elif (shape.port, transport) in taken:
            report("duplicate-port", f"{path} is {transport} {shape.port} once more, and is left out", "give each port a number of its own")
        else:
            taken.add((shape.port, transport))
            ports.append(_port(shape, transport, path, report))
    if not ports:
        report(
            "service-without-ports",
            "spec.ports names no port that can be served, so proxies get no cluster for this service",
            "add the service's ports, or delete the Service if nobody calls it",
        )
    return tuple(ports)


def _port(shape: shapes.ServicePort, transport: str, path: str, report: Report) -> Port:
    target = shape.target_port or shape.port
    if isinstance(target, int) and not 1 <= target <= 65535:
        report(
            "bad-port",
            f"{path}.targetPort is {target}, so {shape.port} is used",
            "write a number from 1 to 65535, or a container port's name",
        )
        target = shape.port
    node_port = shape.node_port or 0
    if not 0 <= node_port <= 65535:
        report("bad-port", f"{path}.nodePort is {node_port}, and is ignored", "write a number from 1 to 65535")
        node_port = 0
    name = shape.name or ""
    protocol = port_protocol(transport, shape.app_protocol or "", name)
    return Port(name=name, port=shape.port, protocol=protocol, target_port=target, node_port=node_port)


def _export_to(text: str, namespace: str, report: Report) -> tuple[str, ...]:
    """Namespaces, sorted; `.` becomes the Service's own, `~` (nobody) stays. Empty where one of them is `*`: every namespace.

    A mistyped one stays too: leaving it out could show the service to everyone.
    """
    parts = {part.strip() for part in text.split(",") if part.strip()}
    for part in sorted(parts):
        if not _NAMESPACE.fullmatch(part):
            report(
                "bad-annotation",
                f"{_EXPORT_TO} has {part!r}, which no namespace is named",
                "write namespaces, *, . or ~, with commas between",
            )
    return () if "*" in parts else tuple(sorted(namespace if part == "." else part for part in parts))


def _node_selector(text: str, report: Report) -> Labels:
    if not text:
        return ()
    try:
        return labels_of(msgspec.json.decode(text, type=dict[str, str]))
    except msgspec.DecodeError as error:
        report("bad-annotation", f"{_NODE_SELECTOR} is ignored: {error}", 'write labels as JSON, such as {"role": "ingress"}')
        return ()


def _ingress(status: shapes.ServiceStatus | None, report: Report) -> tuple[str, ...]:
    balancer = status.load_balancer if status else None
    found: list[str] = []
    for number, entry in enumerate((balancer.ingress if balancer else None) or []):
        path = f"status.loadBalancer.ingress[{number}]"
        if entry.ip:
            found.extend(addresses([entry.ip], f"{path}.ip", report))
        elif entry.hostname and _HOSTNAME.fullmatch(entry.hostname.lower().removesuffix(".")):
            found.append(entry.hostname.lower().removesuffix("."))
        else:
            report("bad-address", f"{path} has neither an ip nor a hostname, and is left out", "write one of them")
    return tuple(found)


def _check_gateway_port(labels: Labels, report: Report) -> None:
    """The registry reads the label; here it is only said that it can't be read."""
    text = label(labels, GATEWAY_PORT_LABEL)
    if text and not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        report(
            "bad-gateway-port",
            f"the label {GATEWAY_PORT_LABEL} is {text!r}, so {DEFAULT_GATEWAY_PORT} is used",
            "write a number from 1 to 65535, or remove the label",
        )
