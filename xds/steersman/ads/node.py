"""Who a client is: envoy.config.core.v3.Node, read once a stream."""

from collections.abc import Mapping
from sys import intern
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from steersman.errors import InvalidObject
from steersman.model.ids import ClusterID, Labels, Locality, NetworkID, canonical_ip
from steersman.model.proxy import Interception, Proxy, ProxyType
from steersman.names import NodeID, parse_node_id

DEFAULT_NAMESPACE: Final = "default"

_OURS: Final = frozenset(
    (
        "APP_ADDRESS",
        "CLUSTER_ID",
        "GENERATOR",
        "INSTANCE_IPS",
        "INTERCEPTION_MODE",
        "LABELS",
        "NAMESPACE",
        "NETWORK",
        "ON_DEMAND_CLUSTERS",
        "OUTBOUND_ADDRESS",
        "REQUESTED_NETWORK_VIEW",
        "SERVICE_ACCOUNT",
        "UNPRIVILEGED_PORTS",
        "WORKLOAD_NAME",
    )
)
"""The metadata that means something here; a Node with none of these is a bare Envoy, whatever its id."""

_LONGEST_TEXT: Final = 4_096
_LONGEST_AGENT: Final = 256
_MOST_LABELS: Final = 512
_MOST_LISTED: Final = 512
_SHOWN: Final = 100
"""Characters of a wrong value that are told."""
"""A proxy is remembered as long as it is connected; what it says of itself is bounded."""

T = TypeVar("T")


def proxy_of(node: Any, peer: str, *, delta: bool = True) -> Proxy:
    """The proxy that this Node describes. `peer`: its address as gRPC writes it, for when the Node has none. `delta`: what it speaks.

    What is missing or of the wrong type is filled in by rule and named in `inferred`; nothing here fails.
    """
    metadata = _Metadata(node.metadata)
    inferred = metadata.inferred
    bare = not metadata.present
    known = _identity(node.id, inferred)
    ip = canonical_ip(known.ip) if known else None
    if bare:
        known = None
        only = ", and of its id only the IP counts" if ip else ""
        inferred.append(
            f"a bare Envoy, as its Node has no metadata that means something here: sidecar in namespace {DEFAULT_NAMESPACE}, "
            f"interception NONE, no inbound{only}"
        )
    if ip is None:
        ip = _peer_address(peer)
        inferred.append(f"ip: {ip or 'unknown'}, from the connection, since the node id names none")
    cluster = ClusterID(metadata.text("CLUSTER_ID"))
    return Proxy(
        # Where networks overlap, a pod of one name may have one address in two clusters, and so one node id.
        id=f"{cluster}/{node.id}" if cluster else node.id,
        type=known.type if known else ProxyType.SIDECAR,
        ip=ip,
        name=known.name if known else "",
        namespace=metadata.text("NAMESPACE") or _namespace(known, bare, inferred),
        cluster=cluster,
        network=NetworkID(metadata.text("NETWORK")),
        labels=metadata.labels("LABELS"),
        service_account=metadata.text("SERVICE_ACCOUNT"),
        workload=metadata.text("WORKLOAD_NAME"),
        instance_ips=metadata.addresses("INSTANCE_IPS"),
        network_view=tuple(NetworkID(name) for name in sorted(set(metadata.listed("REQUESTED_NETWORK_VIEW")))) or None,
        interception=Interception.NONE if bare else metadata.interception("INTERCEPTION_MODE"),
        generator=metadata.text("GENERATOR"),
        locality=_locality(node.locality, inferred),
        outbound_address=metadata.address("OUTBOUND_ADDRESS", "127.0.0.1"),
        app_address=metadata.address("APP_ADDRESS", "127.0.0.1"),
        unprivileged_ports=metadata.flag("UNPRIVILEGED_PORTS"),
        on_demand_clusters=_on_demand(metadata, known, delta),
        bare=bare,
        inferred=tuple(inferred),
    )


def agent_of(node: Any) -> str:
    """The client's own name and version, as "envoy 1.40.0"; "" where it doesn't say."""
    if node.HasField("user_agent_build_version"):
        number = node.user_agent_build_version.version
        version = f"{number.major_number}.{number.minor_number}.{number.patch}"
    else:
        version = node.user_agent_version
    return f"{node.user_agent_name} {version}".strip()[:_LONGEST_AGENT]


def _on_demand(metadata: "_Metadata", known: NodeID | None, delta: bool) -> bool:
    """Whether it asks for each cluster when it needs it. Who can't is told."""
    if not metadata.flag("ON_DEMAND_CLUSTERS"):
        return False
    why = ""
    if metadata.text("GENERATOR") == "grpc":
        why = "a gRPC client asks for what it needs anyway"
    elif known is not None and known.type is not ProxyType.SIDECAR:
        why = f"it is for sidecars, and this is a {known.type}"
    elif not delta:
        why = "Envoy asks for single clusters with delta (DELTA_GRPC) only"
    if why:
        metadata.inferred.append(f"ON_DEMAND_CLUSTERS: ignored, since {why}")
    return not why


def _identity(node_id: str, inferred: list[str]) -> NodeID | None:
    try:
        return parse_node_id(node_id)
    except InvalidObject as error:
        inferred.append(f"type: sidecar, since {error}")
        return None


def _locality(locality: Any, inferred: list[str]) -> Locality:
    found = Locality(locality.region, locality.zone, locality.sub_zone)
    if sum(map(len, found)) <= _LONGEST_TEXT:
        return found
    inferred.append(f"locality: ignored, since it is longer than {_LONGEST_TEXT} characters")
    return Locality()


def _namespace(known: NodeID | None, bare: bool, inferred: list[str]) -> str:
    if known:
        return known.namespace
    if not bare:
        inferred.append(f"namespace: {DEFAULT_NAMESPACE}, since neither the node id nor NAMESPACE names one")
    return DEFAULT_NAMESPACE


class _Metadata:
    """Node.metadata, read with suspicion: a value of the wrong type counts as absent, and is told in `inferred`."""

    def __init__(self, struct: Any) -> None:
        self.inferred: list[str] = []
        self._values: dict[str, Any] = {key: struct.fields[key] for key in _OURS if key in struct.fields}
        self.present = bool(self._values)

    def _of_kind(self, key: str, value: Any, kind: str, expected: str, default: T) -> Any | T:
        found = value.WhichOneof("kind")
        if found == kind:
            if kind != "string_value" or len(value.string_value) <= _LONGEST_TEXT:
                return getattr(value, kind)
            self.inferred.append(f"{key}: ignored, since it is longer than {_LONGEST_TEXT} characters")
        elif found not in (None, "null_value"):
            self.inferred.append(f"{key}: ignored, since it is a {_KINDS.get(found, found)}, expected {expected}")
        return default

    def text(self, key: str) -> str:
        value = self._values.get(key)
        return "" if value is None else intern(str(self._of_kind(key, value, "string_value", "a string", "")))  # thousands say the same

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if value is None or value.WhichOneof("kind") == "bool_value":
            return value is not None and bool(value.bool_value)
        return self.text(key).lower() == "true"

    def listed(self, key: str) -> tuple[str, ...]:
        """A list of strings, or a string of several with commas between; empty ones left out, order kept."""
        value = self._values.get(key)
        if value is None:
            return ()
        if value.WhichOneof("kind") == "list_value":
            if len(value.list_value.values) > _MOST_LISTED:
                return self._too_many(key, _MOST_LISTED)
            items = [self._of_kind(f"{key}[{at}]", item, "string_value", "a string", "") for at, item in enumerate(value.list_value.values)]
        else:
            items = self._of_kind(key, value, "string_value", "a list of strings or a comma-separated string", "").split(",")
            if len(items) > _MOST_LISTED:
                return self._too_many(key, _MOST_LISTED)
        return tuple(item.strip() for item in items if item.strip())

    def labels(self, key: str) -> Labels:
        value = self._values.get(key)
        if value is None:
            return ()
        struct = self._of_kind(key, value, "struct_value", "a map of strings", None)
        fields: Mapping[str, Any] = {} if struct is None else struct.fields
        if len(fields) > _MOST_LABELS:
            return self._too_many(key, _MOST_LABELS)
        taken = sorted(name for name in fields if len(name) <= _LONGEST_TEXT)
        if len(taken) < len(fields):
            self.inferred.append(
                f"{key}: {len(fields) - len(taken)} left out, since their names are longer than {_LONGEST_TEXT} characters"
            )
        found = ((name, self._of_kind(f"{key}.{name[:_SHOWN]}", fields[name], "string_value", "a string", None)) for name in taken)
        return tuple((name, text) for name, text in found if text is not None)

    def _too_many(self, key: str, most: int) -> tuple[()]:
        self.inferred.append(f"{key}: ignored, since it has more than {most} entries")
        return ()

    def address(self, key: str, default: str) -> str:
        text = self.text(key)
        address = canonical_ip(text)
        if text and address is None:
            self.inferred.append(f"{key}: {default}, since {text[:_SHOWN]!r} is no IP address")
        return address or default

    def addresses(self, key: str) -> tuple[str, ...]:
        found: list[str] = []
        for text in self.listed(key):
            address = canonical_ip(text)
            if address is None:
                self.inferred.append(f"{key}: {text[:_SHOWN]!r} left out, since it is no IP address")
            elif address not in found:
                found.append(address)
        return tuple(found)

    def interception(self, key: str) -> Interception:
        text = self.text(key)
        if not text:
            return Interception.REDIRECT
        if text.upper() not in Interception.__members__:
            self.inferred.append(f"{key}: REDIRECT, since {text[:_SHOWN]!r} is none of {', '.join(Interception)}")
            return Interception.REDIRECT
        return Interception(text.upper())


_KINDS: Final = {"number_value": "number", "bool_value": "boolean", "struct_value": "map", "list_value": "list", "string_value": "string"}


def _peer_address(peer: str) -> str:
    """The IP address of a peer as gRPC writes it (ipv4:10.0.0.1:4711, ipv6:[2001:db8::1]:4711, or percent-encoded); "" for any other."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    host = unquote(rest).rpartition(":")[0].strip("[]")
    return canonical_ip(host.partition("%")[0]) or ""
