"""The lab file: what Steersman is configured with, and what the lab makes around it."""

from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import msgspec

from steersman.errors import ConfigError
from steersman.model.ids import ClusterID, NetworkID
from steersman.server.bootstrap import Mode
from steersman.settings import Settings, values
from steersman.settings.settings import settings_of
from steersman.settings.strict import Section, Wrong, parse, read_text

DEFAULT_LAB = "two-networks"


class Network(msgspec.Struct, frozen=True):
    """Address ranges of one network. Two networks may use the same: only their gateways' addresses ever leave them."""

    pods: str = "10.10.0.0/24"
    services: str = "10.96.0.0/24"


class Forward(msgspec.Struct, frozen=True):
    """A port of 127.0.0.1 that leads to a pod's port. `to`: CLUSTER/[NAMESPACE/]POD:PORT."""

    port: int
    to: str


class Ground(msgspec.Struct, frozen=True):
    """The section `lab`. `wan` joins the networks' gateways, `management` leads to the control plane; neither exists on loopback."""

    networks: dict[NetworkID, Network] = {}
    forward: tuple[Forward, ...] = ()
    wan: str = "192.0.2.0/24"
    management: str = "198.51.100.0/24"
    xds: Mode = Mode.DELTA


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
    config, settings, ground = parse(read_text(path), path, lambda root: _content(root, path), example="config/labs/two-networks.yaml")
    clusters = []
    for source in settings.clusters:
        if source.files is None:
            raise ConfigError(
                str(settings.file), source.path, source.config.name, "files: the directory of the manifests that the lab is to run"
            )
        name, network = source.config.name, source.config.network
        clusters.append(LabCluster(name, network or NetworkID(name), network, source.files.resolve()))
    lab = LabFile(path, config, settings, tuple(clusters), ground)
    for network in ground.networks:
        if network not in lab.networks:
            raise ConfigError(str(path), f"lab.networks.{network}", network, f"a network of a cluster: {', '.join(lab.networks)}")
    return lab


def _content(root: Section, lab: Path) -> tuple[dict[str, Any], Settings, Ground]:
    config, settings = _configuration(root, lab)
    ground = _ground(root.section("lab"))
    root.close()
    return config, settings, ground


def _configuration(root: Section, lab: Path) -> tuple[dict[str, Any], Settings]:
    given = root.values.get("config")
    if isinstance(given, str):
        root.known.append("config")
        file = lab.parent / given
        return parse(read_text(file), file, lambda config: (dict(config.values), settings_of(config, file)), example="config/example.yaml")
    section = root.section("config")
    return dict(section.values), settings_of(section, lab)


def _ground(section: Section) -> Ground:
    default = Ground()
    ground = Ground(
        networks={NetworkID(name): _network(one) for name, one in section.section("networks").named("the name of a network")},
        forward=tuple(_forward(one) for one in section.sections("forward")),
        wan=section.take("wan", _range, default.wan),
        management=section.take("management", _range, default.management),
        xds=section.take("xds", values.choice_of(Mode), default.xds),
    )
    section.close()
    return ground


def _network(section: Section) -> Network:
    default = Network()
    network = Network(pods=section.take("pods", _range, default.pods), services=section.take("services", _range, default.services))
    section.close()
    return network


def _forward(section: Section) -> Forward:
    section.required("port", "a port, 1 to 65535")
    section.required("to", "CLUSTER/[NAMESPACE/]POD:PORT")
    forward = Forward(port=section.take("port", values.port, 1), to=section.take("to", values.text, ""))
    section.close()
    return forward


def _range(value: object) -> str:
    try:
        network = IPv4Network(values.text(value))
    except ValueError as wrong:
        raise Wrong("an IPv4 range such as 10.10.0.0/24") from wrong
    if network.num_addresses < 16:
        raise Wrong("a range of at least 16 addresses")
    return str(network)
