"""The configuration file, read once, strictly, into frozen Settings that are passed down.

An unknown key, a wrong type or a value that can't work is refused with file, path, value and what was expected; all that is wrong is told
at once. Relative paths in the file are relative to the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steersman.model.config import (
    ClusterConfig,
    MeshConfig,
    MissingGateway,
    NetworkConfig,
    NetworkEndpoints,
    NetworkGatewayConfig,
    OutboundTrafficPolicy,
    Passthrough,
)
from steersman.model.ids import ClusterID, NetworkID
from steersman.model.limits import LIMITS, PATIENCE, Limits
from steersman.names import TYPE_NAMES
from steersman.settings import values
from steersman.settings.outages import KEEP, OutageSettings, outage_of
from steersman.settings.remote import NONE, RemoteClusterSettings, remote_clusters_of
from steersman.settings.removal_guard import GUARDED, RemovalGuardSettings, removal_guard_of
from steersman.settings.strict import Section, parse, read_text
from steersman.settings.values import Address
from steersman.settings.warm import WarmStartSettings, warm_start


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSource:
    """How a cluster's API is reached: by a kubeconfig (`context` empty: its current one), or from inside the cluster."""

    kubeconfig: Path | None = None
    context: str = ""
    in_cluster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSource:
    """One entry of clusters: what the mesh knows of it, and where its objects come from. Exactly one of `files` and `kubernetes` is set.

    `path`: its place in the configuration, such as `clusters[1]`. `sync_timeout`: seconds. `outage`, `removal_guard`: for one with
    `kubernetes`.
    """

    config: ClusterConfig
    path: str
    files: Path | None = None
    kubernetes: KubernetesSource | None = None
    sync_timeout: float = 30.0
    outage: OutageSettings = KEEP
    removal_guard: RemovalGuardSettings = GUARDED


@dataclass(frozen=True, slots=True, kw_only=True)
class CASettings:
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class XDSSettings:
    """`insecure_secrets`: private keys may leave over plaintext on an address that is not loopback. `ack_deadline`: seconds that a client
    gets to answer a response. `load_reporting_interval`: seconds between two load reports of a client. `ttls`: by type URL, seconds
    after which clients drop what they hold unless they hear of it again; types that are missing are kept for ever."""

    address: Address
    insecure_secrets: bool = False
    ack_deadline: float = PATIENCE.ack
    load_reporting_interval: float = 10.0
    limits: Limits = LIMITS
    ttls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectSettings:
    """`remote_changes`: commands that change something are taken from other machines too."""

    address: Address
    remote_changes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    xds: XDSSettings
    admin: ListenSettings
    inspect: InspectSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `file`: as it was given."""

    file: Path
    mesh: MeshConfig
    clusters: tuple[ClusterSource, ...]
    ca: CASettings
    server: ServerSettings
    warm_start: WarmStartSettings
    remote_clusters: RemoteClusterSettings = NONE


def read_settings(file: Path) -> Settings:
    """The settings in this file. Raises ConfigError: of one thing, or ConfigErrors of all that is wrong."""
    return parse_settings(read_text(file), file)


def parse_settings(text: str, file: Path) -> Settings:
    """The settings in this text, which stands (or would stand) in this file; read_settings says what is raised."""
    return parse(text, file, lambda root: settings_of(root, file), example="config/example.yaml")


def settings_of(root: Section, file: Path) -> Settings:
    """What this section of a file means; what is wrong in it, the section notes."""
    mesh = _mesh(root.section("mesh"))
    outage = outage_of(root.section("outage"), KEEP)
    guard = removal_guard_of(root.section("removalGuard"), GUARDED)
    clusters = _clusters(root, file.parent, outage, guard)
    ca = _ca(root.section("ca"), file.parent)
    settings = Settings(
        file=file,
        mesh=mesh,
        clusters=clusters,
        ca=ca,
        server=_server(root.section("server")),
        warm_start=warm_start(root.section("warmStart"), file.parent, ca.directory),
        remote_clusters=remote_clusters_of(
            root, file.parent, outage, guard, (one.config.name for one in clusters if one.kubernetes is not None)
        ),
    )
    root.close()
    return settings


def _mesh(section: Section) -> MeshConfig:
    policy = section.section("outboundTrafficPolicy")
    locality = section.section("localityLbSetting")
    default = MeshConfig()
    mesh = MeshConfig(
        domain=section.take("domain", values.dns_name, default.domain),
        trust_domain=section.take("trustDomain", values.trust_domain, default.trust_domain),
        root_namespace=section.take("rootNamespace", values.dns_label, default.root_namespace),
        missing_gateway=section.take("missingGateway", values.choice_of(MissingGateway), default.missing_gateway),
        passthrough=section.take("passthrough", values.choice_of(Passthrough), default.passthrough),
        networks=_networks(section.section("networks")),
        outbound_traffic_policy=policy.take("mode", values.choice_of(OutboundTrafficPolicy), default.outbound_traffic_policy),
        locality_lb_enabled=locality.take("enabled", values.boolean, default.locality_lb_enabled),
    )
    for part in (policy, locality, section):
        part.close()
    return mesh


def _networks(section: Section) -> tuple[NetworkConfig, ...]:
    networks = []
    for name, network in section.named("the name of a network"):
        networks.append(
            NetworkConfig(
                name=NetworkID(name),
                endpoints=tuple(_network_endpoints(item) for item in network.sections("endpoints")),
                gateways=tuple(_network_gateway(item) for item in network.sections("gateways")),
                missing_gateway=network.take("missingGateway", values.choice_of(MissingGateway), None),
            )
        )
        network.close()
    return tuple(networks)


def _network_endpoints(section: Section) -> NetworkEndpoints:
    section.one_of("fromRegistry", "fromCidr")
    endpoints = NetworkEndpoints(
        from_registry=ClusterID(section.take("fromRegistry", values.text, "")),
        from_cidr=section.take("fromCidr", values.cidr, ""),
    )
    section.close()
    return endpoints


def _network_gateway(section: Section) -> NetworkGatewayConfig:
    section.one_of("address", "registryServiceName")
    gateway = NetworkGatewayConfig(
        address=section.take("address", values.ip_or_host, ""),
        registry_service_name=section.take("registryServiceName", values.dns_name, ""),
        port=section.take("port", values.port, NetworkGatewayConfig().port),
    )
    section.close()
    return gateway


def _clusters(root: Section, base: Path, outage: OutageSettings, guard: RemovalGuardSettings) -> tuple[ClusterSource, ...]:
    clusters: list[ClusterSource] = []
    paths: dict[ClusterID, str] = {}
    if not root.broken and root.values.get("clusters", []) == []:
        root.wrong("clusters", root.values.get("clusters"), "a list of at least one cluster")
    for section in root.sections("clusters"):
        cluster = _cluster(section, base, outage, guard)
        name = cluster.config.name
        if name and paths.setdefault(name, section.path) != section.path:
            section.wrong("name", name, f"a name of its own: {paths[name]} is named so as well")
        clusters.append(cluster)
    return tuple(clusters)


def _cluster(section: Section, base: Path, outage: OutageSettings, guard: RemovalGuardSettings) -> ClusterSource:
    section.required("name", "the cluster's name, as proxies say it in CLUSTER_ID")
    section.one_of("files", "kubernetes")
    cluster = ClusterSource(
        path=section.path,
        config=ClusterConfig(
            name=section.take("name", values.cluster_name, ClusterID("")),
            network=section.take("network", values.network, NetworkID("")),
            trust_domain=section.take("trustDomain", values.trust_domain, ""),
            slices_only="kubernetes" in section,
        ),
        sync_timeout=section.take("syncTimeout", values.duration, 30.0),
        files=section.take("files", values.path_from(base, "directory"), None),
        kubernetes=_kubernetes(section.section("kubernetes"), base) if "kubernetes" in section else None,
        outage=outage_of(section.section("outage"), outage),
        removal_guard=removal_guard_of(section.section("removalGuard"), guard),
    )
    for key, why in (("outage", "only a cluster's API can be silent"), ("removalGuard", "what a directory lacks was taken out of it")):
        if key in section and "files" in section:
            section.wrong(key, section.values[key], f"no {key} beside files: {why}")
    if "kubernetes" not in section:
        section.known.append("kubernetes")
    section.close()
    return cluster


def _kubernetes(section: Section, base: Path) -> KubernetesSource:
    section.one_of("kubeconfig", "inCluster")
    source = KubernetesSource(
        kubeconfig=section.take("kubeconfig", values.path_from(base, "file"), None),
        context=section.take("context", values.text, ""),
        in_cluster=section.take("inCluster", values.boolean, False),
    )
    if section.values.get("inCluster") is False:
        section.wrong("inCluster", False, "true, or a kubeconfig instead")
    if source.context and "inCluster" in section:
        section.wrong("context", source.context, "no context beside inCluster: it belongs to a kubeconfig")
    section.close()
    return source


def _ca(section: Section, base: Path) -> CASettings:
    settings = CASettings(directory=section.take("directory", values.path_from(base, ""), base / ".steersman" / "ca"))
    if settings.directory.exists() and not settings.directory.is_dir():
        section.wrong("directory", str(settings.directory), "a directory, or a path where one can be made")
    section.close()
    return settings


def _server(section: Section) -> ServerSettings:
    xds, admin, inspect = (section.section(key) for key in ("xds", "admin", "inspect"))
    settings = ServerSettings(
        xds=_xds(xds),
        admin=ListenSettings(address=admin.take("address", values.address, Address("127.0.0.1", 15014))),
        inspect=InspectSettings(
            address=inspect.take("address", values.address, Address("127.0.0.1", 15011)),
            remote_changes=inspect.take("remoteChanges", values.boolean, False),
        ),
    )
    for part in (xds, admin, inspect, section):
        part.close()
    return settings


def _xds(section: Section) -> XDSSettings:
    return XDSSettings(
        address=section.take("address", values.address, Address("127.0.0.1", 15010)),
        insecure_secrets=section.take("insecureSecrets", values.boolean, False),
        ack_deadline=section.take("ackDeadline", values.duration, PATIENCE.ack),
        load_reporting_interval=section.take("loadReportingInterval", values.interval, 10.0),
        limits=_limits(section.section("limits")),
        ttls=_ttls(section.section("ttl")),
    )


def _ttls(section: Section) -> dict[str, float]:
    found = {type_url: section.take(short, values.time_to_live, 0.0) for type_url, short in TYPE_NAMES.items()}
    section.close()
    return {type_url: seconds for type_url, seconds in found.items() if seconds}


def _limits(section: Section) -> Limits:
    limits = Limits(
        names=section.take("names", values.count, LIMITS.names),
        name_length=section.take("nameLength", values.count, LIMITS.name_length),
        types=section.take("types", values.count, LIMITS.types),
        streams_per_node=section.take("streamsPerNode", values.count, LIMITS.streams_per_node),
        streams=section.take("streams", values.count, LIMITS.streams),
        new_streams_per_second=section.take("newStreamsPerSecond", values.count, LIMITS.new_streams_per_second),
        waiting_streams=section.take("waitingStreams", values.count, LIMITS.waiting_streams),
        message_size=section.take("messageSize", values.message_size, LIMITS.message_size),
    )
    section.close()
    return limits
