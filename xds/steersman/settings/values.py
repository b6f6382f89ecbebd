"""What single values in our files may be. Each function returns what the value means; it raises Wrong with what was expected."""

import re
from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple, TypeVar

from steersman.model.ids import ClusterID, NetworkID, canonical_ip
from steersman.settings.strict import Wrong

E = TypeVar("E", bound=StrEnum)

RESERVED_CLUSTERS = ("ca", "config", "dns", "proxy", "remoteClusters")
"""Names of our own sources: a cluster named so could not be told from them in findings and in Synced."""


class Address(NamedTuple):
    """Where a server listens. `host`: an IP, unbracketed, or a hostname; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong("a text that is not empty")
    return value


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise Wrong("a port, 1 to 65535")
    return value


def count(value: object) -> int:
    """How many are allowed; to allow none would be to serve nobody."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise Wrong(f"a whole number, 1 to {_MOST}")
    return value


_MOST = 2**31 - 1
_SIZE = re.compile(r"([0-9]{1,10})(Ki|Mi|Gi)?")
_BYTES = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_LEAST_MESSAGE = 128 * 1024


def message_size(value: object) -> int:
    """Bytes of a quantity such as 16Mi, as Kubernetes writes them. Not so few that an Envoy could not even say who it is."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    size = int(match[1]) * _BYTES[match[2]] if match else 0
    if not _LEAST_MESSAGE <= size <= _MOST:
        raise Wrong('a size such as "16Mi" or 16777216, at least 128Ki (an Envoy\'s first request takes 60Ki) and less than 2Gi')
    return size


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_CLUSTER_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]{1,253}")


def dns_label(value: object) -> str:
    if not isinstance(value, str) or not _DNS_LABEL.fullmatch(value):
        raise Wrong("a name of lower-case letters, digits and '-', at most 63 long")
    return value


def dns_name(value: object) -> str:
    name = value.lower().removesuffix(".") if isinstance(value, str) else ""
    if len(name) > 253 or not _DNS_NAME.fullmatch(name):
        raise Wrong('a DNS name such as "cluster.local"')
    return name


def trust_domain(value: object) -> str:
    if not isinstance(value, str) or not _TRUST_DOMAIN.fullmatch(value):
        raise Wrong("a SPIFFE trust domain: lower-case letters, digits, '.', '-' and '_'")
    return value


def cluster_name(value: object) -> ClusterID:
    if not isinstance(value, str) or not _CLUSTER_NAME.fullmatch(value):
        raise Wrong("a name without spaces and '/'")
    if value in RESERVED_CLUSTERS:
        raise Wrong(f"a name other than {', '.join(RESERVED_CLUSTERS)}: these are Steersman's own sources")
    return ClusterID(value)


def network(value: object) -> NetworkID:
    return NetworkID(text(value))


def ip_or_host(value: object) -> str:
    address = canonical_ip(value) if isinstance(value, str) else None
    if address is not None:
        return address
    try:
        host = dns_name(value)
    except Wrong:
        host = ""
    if not host or re.fullmatch(r"[0-9.]+", host):
        raise Wrong("an IP address or a hostname")
    return host


def cidr(value: object) -> str:
    """The canonical range: host bits cleared, IPv4-mapped IPv6 ranges as IPv4."""
    expected = 'an address range such as "10.20.0.0/16"'
    if not isinstance(value, str) or "/" not in value or "%" in value:
        raise Wrong(expected)
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise Wrong(expected) from error
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return str(ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"))
    return str(network)


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(value: object) -> float:
    """Seconds of a duration such as 30s, 500ms, 1m or 1m30s; more than none."""
    expected = 'a duration such as "30s", "500ms" or "1m"'
    if not isinstance(value, str) or not re.fullmatch(rf"({_DURATION.pattern})+", value):
        raise Wrong(expected)
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in _DURATION.findall(value))
    if seconds <= 0:
        raise Wrong(f"{expected}, more than none")
    return seconds


def time_to_live(value: object) -> float:
    """Seconds. Not so few that a busy server, or an Envoy that warms, would have things vanish that are there."""
    expected = 'a duration such as "2m", from 5s to 8760h'
    try:
        seconds = duration(value)
    except Wrong as error:
        raise Wrong(expected) from error
    if not _LEAST_TTL <= seconds <= _MOST_TTL:
        raise Wrong(expected)
    return seconds


_LEAST_TTL, _MOST_TTL = 5.0, 8760 * 3600.0


def interval(value: object) -> float:
    """Seconds of a duration of at least one second."""
    seconds = duration(value)
    if seconds < 1:
        raise Wrong('a duration of at least "1s"')
    return seconds


def address(value: object) -> Address:
    expected = 'HOST:PORT such as "127.0.0.1:15010" or "[::1]:15010"'
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None or int(match[3]) > 65535:
        raise Wrong(expected)
    if match[1] is not None and ":" not in match[1]:
        raise Wrong(expected)
    try:
        return Address(ip_or_host(match[1] or match[2]), int(match[3]))
    except Wrong as error:
        raise Wrong(expected) from error


def choice_of(choices: type[E]) -> Callable[[object], E]:
    """Reads a value of an enumeration."""

    def parse(value: object) -> E:
        if not isinstance(value, str) or value not in choices.__members__.values():
            raise Wrong(f"one of {', '.join(choices)}")
        return choices(value)

    return parse


def path_from(base: Path, kind: str) -> Callable[[object], Path]:
    """Reads a path relative to `base`; `kind`: "directory" or "file", which must exist, or "" where it need not."""

    def parse(value: object) -> Path:
        path = base / text(value)
        if kind and not (path.is_dir() if kind == "directory" else path.is_file()):
            raise Wrong(f"an existing {kind} ({path} is none)")
        return path

    return parse
