"""The lab file: what Steersman is configured with, and what the lab makes around it."""

import re
from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import yaml

from steersman.errors import ConfigError
from steersman.model.ids import ClusterID, NetworkID
from steersman.server.bootstrap import Mode
from steersman.settings import ConfigErrors, Settings, parse_settings

DEFAULT_LAB = "two-networks"


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address ranges of one network. Two networks may use the same: only their gateways' addresses ever leave them."""

    pods: str = "10.10.0.0/24"
    services: str = "10.96.0.0/24"


class Forward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port of 127.0.0.1 that leads to a pod's port. `to`: CLUSTER/[NAMESPACE/]POD:PORT."""

    port: int
    to: str


class Ground(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `lab`. `wan` joins the networks' gateways, `management` leads to the control plane; neither exists on loopback."""

    networks: dict[NetworkID, Network] = {}
    forward: tuple[Forward, ...] = ()
    wan: str = "192.0.2.0/24"
    management: str = "198.51.100.0/24"
    xds: Mode = Mode.DELTA


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    config: dict[str, Any] | str
    lab: Ground = Ground()


class LabCluster(msgspec.Struct, frozen=True):
    """A cluster of the configuration. `network`: as configured; where that is nothing, one of its own, of which Steersman isn't told.
    `manifests`: the directory of what is to run there."""

    name: ClusterID
    network: NetworkID
    configured: NetworkID
    manifests: Path


class LabFile(msgspec.Struct, frozen=True):
    """A lab file that was read and checked. `config` as written; `settings` what it means, with the paths in it resolved."""

    path: Path
    config: dict[str, Any]
    settings: Settings
    clusters: tuple[LabCluster, ...]
    ground: Ground

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def domain(self) -> str:
        return self.settings.mesh.domain

    @property
    def networks(self) -> tuple[NetworkID, ...]:
        """In the order in which clusters name them."""
        return tuple(dict.fromkeys(cluster.network for cluster in self.clusters))

    def network_of(self, cluster: ClusterID) -> NetworkID:
        return next(one.network for one in self.clusters if one.name == cluster)

    def ranges(self, network: NetworkID) -> Network:
        return self.ground.networks.get(network, Network())


def find_lab(named: str | None) -> Path:
    """The lab file of this path; or the one that comes with Steersman under this name, two-networks if None. Raises ConfigError."""
    path = Path(named or DEFAULT_LAB)
    if path.is_file():
        return path
    shipped = Path(str(files("steersman"))) / "lab" / "labs"
    if path.parent == Path() and path.suffix in ("", ".yaml") and (found := shipped / f"{path.stem}.yaml").is_file():
        return found.resolve()
    known = sorted(file.stem for file in shipped.glob("*.yaml"))
    raise ConfigError(str(path), "", None, f"a lab file, or the name of one that comes with Steersman: {', '.join(known)}")


def read_lab(path: Path) -> LabFile:
    """Raises ConfigError, or ConfigErrors, with file, path, value and what was expected."""
    read = _convert(_mapping(path), path)
    config, settings = _configuration(read.config, path)
    clusters = []
    for source in settings.clusters:
        if source.files is None:
            raise ConfigError(
                str(settings.file), source.path, source.config.name, "files: the directory of the manifests that the lab is to run"
            )
        name, network = source.config.name, source.config.network
        clusters.append(LabCluster(name, network or NetworkID(name), network, source.files.resolve()))
    lab = LabFile(path, config, settings, tuple(clusters), read.lab)
    _check_ground(lab)
    return lab


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as missing:
        raise ConfigError(str(path), "", missing.strerror, "a readable file") from missing
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise ConfigError(str(path), "", str(broken), "YAML") from broken
    if not isinstance(content, dict):
        raise ConfigError(str(path), "", content, "a mapping with config and lab")
    return content


def _configuration(given: dict[str, Any] | str, lab: Path) -> tuple[dict[str, Any], Settings]:
    if isinstance(given, str):
        file = lab.parent / given
        config = _mapping(file)
        return config, parse_settings(file.read_text(), file)
    try:
        return given, parse_settings(yaml.safe_dump(given), lab)
    except ConfigErrors as several:
        placed = (ConfigError(one.file, f"config.{one.path}".rstrip("."), one.value, one.expected) for one in several.errors)
        raise ConfigErrors(tuple(placed)) from None


def _convert(content: dict[str, Any], path: Path) -> _File:
    try:
        return msgspec.convert(content, _File)
    except msgspec.ValidationError as wrong:
        said, _, place = str(wrong).partition(" - at `$")
        where = place.rstrip("`").lstrip(".")
        for pattern, expected in (
            (r"Object contains unknown field `(.*)`", "no such key"),
            (r"Object missing required field `(.*)`", "this key"),
        ):
            if (field := re.fullmatch(pattern, said)) is not None:
                raise ConfigError(str(path), f"{where}.{field[1]}".lstrip("."), _at(content, where, field[1]), expected) from None
        raise ConfigError(str(path), where, _at(content, where), said.removeprefix("Expected ")) from None


def _at(content: object, where: str, *more: str) -> object:
    """What stands at a place such as lab.forward[0].port; None where that can't be told."""
    for step in [*re.findall(r"[^.\[\]]+", where), *more]:
        if isinstance(content, dict):
            content = content.get(step)
        elif isinstance(content, list) and step.isdecimal():
            content = content[int(step)]
        else:
            return None
    return content


def _check_ground(lab: LabFile) -> None:
    ground = lab.ground
    for network, ranges in ground.networks.items():
        if network not in lab.networks:
            raise ConfigError(str(lab.path), f"lab.networks.{network}", network, f"a network of a cluster: {', '.join(lab.networks)}")
        _check_range(lab.path, f"lab.networks.{network}.pods", ranges.pods)
        _check_range(lab.path, f"lab.networks.{network}.services", ranges.services)
    _check_range(lab.path, "lab.wan", ground.wan)
    _check_range(lab.path, "lab.management", ground.management)


def _check_range(file: Path, place: str, text: str) -> None:
    try:
        network = IPv4Network(text)
    except ValueError as wrong:
        raise ConfigError(str(file), place, text, "an IPv4 range such as 10.10.0.0/24") from wrong
    if network.num_addresses < 16:
        raise ConfigError(str(file), place, text, "a range of at least 16 addresses")
