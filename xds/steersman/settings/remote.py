"""The section remoteClusters: clusters that come and go at run time, as files in a directory or as Secrets of a cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from steersman.model.ids import ClusterID
from steersman.settings import values
from steersman.settings.outages import KEEP, OutageSettings, outage_of
from steersman.settings.removal_guard import GUARDED, RemovalGuardSettings, removal_guard_of
from steersman.settings.strict import Section, Wrong


class AuthProvider(StrEnum):
    """Those that can be allowed. The others that the official package has run a program: that is what exec is for."""

    OIDC = "oidc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a kubeconfig from a Secret may use beside what it holds itself, by name; by default nothing.

    `exec`: commands, written as the kubeconfig writes them. `exec_env`: variables that it may set for them. `files`: absolute paths.
    `insecure_servers`: it may name a server without TLS, or one whose certificate isn't to be verified.
    """

    exec: frozenset[str] = frozenset()
    exec_env: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    auth_providers: frozenset[str] = frozenset()
    insecure_servers: bool = False


NOTHING = Allowed()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteClusterSettings:
    """`kubeconfigs`: a directory of one kubeconfig a cluster. `secrets`: configured clusters that hold Secrets with kubeconfigs.
    `sync_timeout`, `outage`, `removal_guard`: of all clusters that are had so."""

    kubeconfigs: Path | None = None
    secrets: tuple[ClusterID, ...] = ()
    sync_timeout: float = 30.0
    outage: OutageSettings = KEEP
    removal_guard: RemovalGuardSettings = GUARDED
    allow: Allowed = NOTHING

    @property
    def asked_for(self) -> bool:
        return self.kubeconfigs is not None or bool(self.secrets)


NONE = RemoteClusterSettings()


def remote_clusters_of(
    root: Section, base: Path, outage: OutageSettings, guard: RemovalGuardSettings, holders: Iterable[ClusterID]
) -> RemoteClusterSettings:
    """`outage`, `guard`: the defaults. `holders`: the configured clusters that are read from their API, which alone can hold Secrets."""
    section = root.section("remoteClusters")
    settings = RemoteClusterSettings(
        kubeconfigs=section.take("kubeconfigs", values.path_from(base, "directory"), None),
        secrets=section.take("secrets", _holders_among(frozenset(holders)), ()),
        sync_timeout=section.take("syncTimeout", values.duration, 30.0),
        outage=outage_of(section.section("outage"), outage),
        removal_guard=removal_guard_of(section.section("removalGuard"), guard),
        allow=_allowed(section.section("allow")),
    )
    if "remoteClusters" in root and not section.broken and not {"kubeconfigs", "secrets"} & section.values.keys():
        section.wrong("", dict(section.values), "kubeconfigs, a directory, or secrets, the name of a cluster that holds them, or both")
    section.close()
    return settings


def _allowed(section: Section) -> Allowed:
    allowed = Allowed(
        exec=section.take("exec", _commands, frozenset()),
        exec_env=section.take("execEnv", _texts("names of environment variables"), frozenset()),
        files=section.take("files", _paths, frozenset()),
        auth_providers=section.take("authProviders", _providers, frozenset()),
        insecure_servers=section.take("insecureServers", values.boolean, False),
    )
    section.close()
    return allowed


def _holders_among(known: frozenset[ClusterID]) -> Callable[[object], tuple[ClusterID, ...]]:
    """Reads the name of a cluster, or several."""

    def parse(value: object) -> tuple[ClusterID, ...]:
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and name in known for name in names):
            there = ", ".join(sorted(known)) or "there is none"
            raise Wrong(f"the name of a cluster with kubernetes:, or a list of such names ({there})")
        return tuple(dict.fromkeys(ClusterID(str(name)) for name in names))

    return parse


def _texts(what: str) -> Callable[[object], frozenset[str]]:
    """Reads a list of texts; `what` they are, for the message."""

    def parse(value: object) -> frozenset[str]:
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise Wrong(f"a list of {what}")
        return frozenset(value)

    return parse


def _commands(value: object) -> frozenset[str]:
    found = _texts("commands")(value)
    if not all(command.startswith("/") or "/" not in command for command in found):
        raise Wrong("a list of commands, each a name that is found by PATH, or an absolute path")
    return found


def _paths(value: object) -> frozenset[str]:
    found = _texts("absolute paths of files")(value)
    if not all(path.startswith("/") for path in found):
        raise Wrong("a list of absolute paths of files, each written as the kubeconfig writes it")
    return found


def _providers(value: object) -> frozenset[str]:
    found = _texts("auth providers")(value)
    if not found <= set(AuthProvider):
        raise Wrong(f"a list of auth providers: {', '.join(AuthProvider)} (the others run programs: see exec)")
    return found
