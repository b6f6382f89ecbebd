"""The configuration file, read once, strictly, into frozen Settings that are passed down.

An unknown key, a wrong type or a value that can't work is refused with file, path, value and what was expected; all that is wrong is told
at once. Relative paths in the file are relative to the file.
"""

import difflib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from steersman.errors import ConfigError
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
from steersman.model.ids import ClusterID, NetworkID, canonical_ip

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

RESERVED_CLUSTERS = ("ca", "dns", "proxy")
"""Names of our own sources: a cluster named so could not be told from them in findings and in Synced."""


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration file, one line each, in the order of reading. Itself it speaks of the first."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        first = errors[0]
        super().__init__(first.file, first.path, first.value, first.expected)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Address(NamedTuple):
    """Where a server listens. `host`: an IP, unbracketed, or a hostname; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSource:
    """How a cluster's API is reached: by a kubeconfig (`context` empty: its current one), or from inside the cluster."""

    kubeconfig: Path | None = None
    context: str = ""
    in_cluster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSource:
    """One entry of clusters: what the mesh knows of it, and where its objects come from. Exactly one of `files` and `kubernetes` is set.

    `path`: its place in the configuration, such as `clusters[1]`. `sync_timeout`: seconds.
    """

    config: ClusterConfig
    path: str
    files: Path | None = None
    kubernetes: KubernetesSource | None = None
    sync_timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CASettings:
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class XDSSettings:
    """`insecure_secrets`: private keys may leave over plaintext on an address that is not loopback."""

    address: Address
    insecure_secrets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    xds: XDSSettings
    admin: ListenSettings
    inspect: ListenSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `file`: as it was given."""

    file: Path
    mesh: MeshConfig
    clusters: tuple[ClusterSource, ...]
    ca: CASettings
    server: ServerSettings


def read_settings(file: Path) -> Settings:
    """The settings in this file. Raises ConfigError: of one thing, or ConfigErrors of all that is wrong."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), "", error.object[error.start : error.start + 1], "UTF-8 text") from error
    except OSError as error:
        raise ConfigError(str(file), "", error.strerror, "a readable file") from error
    return parse_settings(text, file)


def parse_settings(text: str, file: Path) -> Settings:
    """The settings in this text, which stands (or would stand) in this file; read_settings says what is raised."""
    errors: list[ConfigError] = []
    try:
        settings = _settings(_Section(errors, str(file), "", _document(text, str(file))), file)
    except RecursionError:  # of the parser, or of a value on its way into a message
        raise ConfigError(str(file), "", "a value that is nested very deeply", "a mapping as in config/example.yaml") from None
    if errors:
        raise ConfigErrors(tuple(errors))
    return settings


# --- YAML


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key that stands twice in one mapping is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice in one mapping", problem_mark=key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _document(text: str, file: str) -> object:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a CSafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.split("\n")
        line = min(mark.line if mark else 0, len(lines) - 1)  # a text that is cut off is found wrong after its last line
        found = lines[line]
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{file}:{line + 1}", "", found.strip(), f"YAML ({problem})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{file}:{line}", "", error.character, f"YAML ({error.reason})") from error


# --- a mapping that is read key by key


class _Wrong(Exception):
    """The value at hand isn't what was expected; becomes a ConfigError where the path is known."""


class _Section:
    """A mapping of the configuration: each key is taken once, what is left at the end is unknown. Errors are gathered, not raised."""

    def __init__(self, errors: list[ConfigError], file: str, path: str, value: object) -> None:
        self.errors, self.file, self.path = errors, file, path
        self.known: list[str] = []
        self.broken = not isinstance(value, Mapping)
        self.values: Mapping[Any, object] = value if isinstance(value, Mapping) else {}
        if self.broken:
            self.wrong("", value, "a mapping")

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def wrong(self, key: str, value: object, expected: str) -> None:
        self.errors.append(ConfigError(self.file, self.at(key), value, expected))

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def take(self, key: str, parse: Callable[[object], T], default: T) -> T:
        """The parsed value of a key; the default where it is absent, and where it is wrong, which is noted."""
        self.known.append(key)
        if key not in self.values:
            return default
        try:
            return parse(self.values[key])
        except _Wrong as wrong:
            self.wrong(key, self.values[key], str(wrong))
            return default

    def section(self, key: str) -> "_Section":
        """The section under a key; an empty one where it is absent."""
        self.known.append(key)
        return _Section(self.errors, self.file, self.at(key), self.values.get(key, {}))

    def sections(self, key: str) -> list["_Section"]:
        """The sections in the list under a key."""
        none: list[object] = []
        items = self.take(key, _list, none)
        return [_Section(self.errors, self.file, f"{self.at(key)}[{number}]", item) for number, item in enumerate(items)]

    def one_of(self, *keys: str) -> None:
        """Exactly one of these keys must be here."""
        if not self.broken and sum(key in self.values for key in keys) != 1:
            self.wrong("", dict(self.values), f"exactly one of {', '.join(keys)}")

    def close(self) -> None:
        """Every key that nobody took is unknown."""
        for key, value in self.values.items():
            if key not in self.known:
                near = difflib.get_close_matches(str(key), self.known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self.wrong(str(key), value, f"a known key, one of {', '.join(sorted(self.known))}{hint}")


# --- values


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _Wrong("a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("a text that is not empty")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise _Wrong("a port, 1 to 65535")
    return value


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_CLUSTER_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]{1,253}")


def _dns_label(value: object) -> str:
    if not isinstance(value, str) or not _DNS_LABEL.fullmatch(value):
        raise _Wrong("a name of lower-case letters, digits and '-', at most 63 long")
    return value


def _dns_name(value: object) -> str:
    name = value.lower().removesuffix(".") if isinstance(value, str) else ""
    if len(name) > 253 or not _DNS_NAME.fullmatch(name):
        raise _Wrong('a DNS name such as "cluster.local"')
    return name


def _trust_domain(value: object) -> str:
    if not isinstance(value, str) or not _TRUST_DOMAIN.fullmatch(value):
        raise _Wrong("a SPIFFE trust domain: lower-case letters, digits, '.', '-' and '_'")
    return value


def _cluster_name(value: object) -> ClusterID:
    if not isinstance(value, str) or not _CLUSTER_NAME.fullmatch(value):
        raise _Wrong("a name without spaces and '/'")
    if value in RESERVED_CLUSTERS:
        raise _Wrong(f"a name other than {', '.join(RESERVED_CLUSTERS)}: these are Steersman's own sources")
    return ClusterID(value)


def _network(value: object) -> NetworkID:
    return NetworkID(_text(value))


def _ip_or_host(value: object) -> str:
    address = canonical_ip(value) if isinstance(value, str) else None
    if address is not None:
        return address
    try:
        host = _dns_name(value)
    except _Wrong:
        host = ""
    if not host or re.fullmatch(r"[0-9.]+", host):
        raise _Wrong("an IP address or a hostname")
    return host


def _cidr(value: object) -> str:
    """The canonical range: host bits cleared, IPv4-mapped IPv6 ranges as IPv4."""
    expected = 'an address range such as "10.20.0.0/16"'
    if not isinstance(value, str) or "/" not in value or "%" in value:
        raise _Wrong(expected)
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise _Wrong(expected) from error
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return str(ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"))
    return str(network)


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(value: object) -> float:
    """Seconds of a duration such as 30s, 500ms, 1m or 1m30s; more than none."""
    expected = 'a duration such as "30s", "500ms" or "1m"'
    if not isinstance(value, str) or not re.fullmatch(rf"({_DURATION.pattern})+", value):
        raise _Wrong(expected)
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in _DURATION.findall(value))
    if seconds <= 0:
        raise _Wrong(f"{expected}, more than none")
    return seconds


def _address(value: object) -> Address:
    expected = 'HOST:PORT such as "127.0.0.1:15010" or "[::1]:15010"'
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None or int(match[3]) > 65535:
        raise _Wrong(expected)
    if match[1] is not None and ":" not in match[1]:
        raise _Wrong(expected)
    try:
        return Address(_ip_or_host(match[1] or match[2]), int(match[3]))
    except _Wrong as error:
        raise _Wrong(expected) from error


def _choice(choices: type[E]) -> Callable[[object], E]:
    """Reads a value of an enumeration."""

    def parse(value: object) -> E:
        if not isinstance(value, str) or value not in choices.__members__.values():
            raise _Wrong(f"one of {', '.join(choices)}")
        return choices(value)

    return parse


def _path(base: Path, kind: str) -> Callable[[object], Path]:
    """Reads a path relative to `base`; `kind`: "directory" or "file", which must exist, or "" where it need not."""

    def parse(value: object) -> Path:
        path = base / _text(value)
        if kind and not (path.is_dir() if kind == "directory" else path.is_file()):
            raise _Wrong(f"an existing {kind} ({path} is none)")
        return path

    return parse


# --- sections


def _settings(root: _Section, file: Path) -> Settings:
    settings = Settings(
        file=file,
        mesh=_mesh(root.section("mesh")),
        clusters=_clusters(root, file.parent),
        ca=_ca(root.section("ca"), file.parent),
        server=_server(root.section("server")),
    )
    root.close()
    return settings


def _mesh(section: _Section) -> MeshConfig:
    policy = section.section("outboundTrafficPolicy")
    locality = section.section("localityLbSetting")
    default = MeshConfig()
    mesh = MeshConfig(
        domain=section.take("domain", _dns_name, default.domain),
        trust_domain=section.take("trustDomain", _trust_domain, default.trust_domain),
        root_namespace=section.take("rootNamespace", _dns_label, default.root_namespace),
        missing_gateway=section.take("missingGateway", _choice(MissingGateway), default.missing_gateway),
        passthrough=section.take("passthrough", _choice(Passthrough), default.passthrough),
        networks=_networks(section.section("networks")),
        outbound_traffic_policy=policy.take("mode", _choice(OutboundTrafficPolicy), default.outbound_traffic_policy),
        locality_lb_enabled=locality.take("enabled", _bool, default.locality_lb_enabled),
    )
    for part in (policy, locality, section):
        part.close()
    return mesh


def _networks(section: _Section) -> tuple[NetworkConfig, ...]:
    networks = []
    for name in section.values:
        if not isinstance(name, str) or not name:
            section.wrong(str(name), name, "the name of a network as a text")
            continue
        network = section.section(name)
        networks.append(
            NetworkConfig(
                name=NetworkID(name),
                endpoints=tuple(_network_endpoints(item) for item in network.sections("endpoints")),
                gateways=tuple(_network_gateway(item) for item in network.sections("gateways")),
                missing_gateway=network.take("missingGateway", _choice(MissingGateway), None),
            )
        )
        network.close()
    return tuple(networks)


def _network_endpoints(section: _Section) -> NetworkEndpoints:
    section.one_of("fromRegistry", "fromCidr")
    endpoints = NetworkEndpoints(
        from_registry=ClusterID(section.take("fromRegistry", _text, "")),
        from_cidr=section.take("fromCidr", _cidr, ""),
    )
    section.close()
    return endpoints


def _network_gateway(section: _Section) -> NetworkGatewayConfig:
    section.one_of("address", "registryServiceName")
    gateway = NetworkGatewayConfig(
        address=section.take("address", _ip_or_host, ""),
        registry_service_name=section.take("registryServiceName", _dns_name, ""),
        port=section.take("port", _port, NetworkGatewayConfig().port),
    )
    section.close()
    return gateway


def _clusters(root: _Section, base: Path) -> tuple[ClusterSource, ...]:
    clusters: list[ClusterSource] = []
    paths: dict[ClusterID, str] = {}
    if not root.broken and root.values.get("clusters", []) == []:
        root.wrong("clusters", root.values.get("clusters"), "a list of at least one cluster")
    for section in root.sections("clusters"):
        cluster = _cluster(section, base)
        name = cluster.config.name
        if name and paths.setdefault(name, section.path) != section.path:
            section.wrong("name", name, f"a name of its own: {paths[name]} is named so as well")
        clusters.append(cluster)
    return tuple(clusters)


def _cluster(section: _Section, base: Path) -> ClusterSource:
    if "name" not in section and not section.broken:
        section.wrong("name", None, "the cluster's name, as proxies say it in CLUSTER_ID")
    section.one_of("files", "kubernetes")
    cluster = ClusterSource(
        path=section.path,
        config=ClusterConfig(
            name=section.take("name", _cluster_name, ClusterID("")),
            network=section.take("network", _network, NetworkID("")),
            trust_domain=section.take("trustDomain", _trust_domain, ""),
        ),
        sync_timeout=section.take("syncTimeout", _duration, 30.0),
        files=section.take("files", _path(base, "directory"), None),
        kubernetes=_kubernetes(section.section("kubernetes"), base) if "kubernetes" in section else None,
    )
    if "kubernetes" not in section:
        section.known.append("kubernetes")
    section.close()
    return cluster


def _kubernetes(section: _Section, base: Path) -> KubernetesSource:
    section.one_of("kubeconfig", "inCluster")
    source = KubernetesSource(
        kubeconfig=section.take("kubeconfig", _path(base, "file"), None),
        context=section.take("context", _text, ""),
        in_cluster=section.take("inCluster", _bool, False),
    )
    if section.values.get("inCluster") is False:
        section.wrong("inCluster", False, "true, or a kubeconfig instead")
    if source.context and "inCluster" in section:
        section.wrong("context", source.context, "no context beside inCluster: it belongs to a kubeconfig")
    section.close()
    return source


def _ca(section: _Section, base: Path) -> CASettings:
    settings = CASettings(directory=section.take("directory", _path(base, ""), base / ".steersman" / "ca"))
    if settings.directory.exists() and not settings.directory.is_dir():
        section.wrong("directory", str(settings.directory), "a directory, or a path where one can be made")
    section.close()
    return settings


def _server(section: _Section) -> ServerSettings:
    xds, admin, inspect = (section.section(key) for key in ("xds", "admin", "inspect"))
    address = xds.take("address", _address, Address("127.0.0.1", 15010))
    settings = ServerSettings(
        xds=XDSSettings(address=address, insecure_secrets=xds.take("insecureSecrets", _bool, False)),
        admin=ListenSettings(address=admin.take("address", _address, Address("127.0.0.1", 15014))),
        inspect=ListenSettings(address=inspect.take("address", _address, Address("127.0.0.1", 15011))),
    )
    for part in (xds, admin, inspect, section):
        part.close()
    return settings
