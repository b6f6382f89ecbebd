"""How an API server is reached, and as whom: by the official `kubernetes` package, which is imported when it is first needed.

It costs half a second and 50 MB: a server without such clusters never pays.
"""

import asyncio
import importlib
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from steersman.errors import SourceError
from steersman.settings import KubernetesSource
from steersman.sources.kube.kubeconfig import BadKubeconfig, Kubeconfig, chosen, merged
from steersman.sources.kube.plugin import exec_credential
from steersman.sources.kube.registrations import Registration

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A server and who we are there. `headers`: asked before each request, as tokens are renewed. `tls`: None for plain HTTP.
    `server_name`: whom the server's certificate must name, where not the host of `server`. `proxy`: a URL, or ""."""

    server: str
    headers: Callable[[], Awaitable[Mapping[str, str]]]
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    proxy: str = ""


class Access(Protocol):
    """Where credentials come from. `place`: that, for messages."""

    @property
    def place(self) -> str: ...

    async def credentials(self) -> Credentials:
        """Read anew. Raises SourceError."""
        ...

    def changed(self) -> bool:
        """Whether they would be others than those read last, as far as can be told without reading them."""
        ...

    def revoked(self) -> bool:
        """Whether those read before must not be used any more, even if those read last are of no use."""
        ...


def access_to(source: KubernetesSource) -> Access:
    """By what a configuration says of a cluster."""
    return InCluster() if source.kubeconfig is None else KubeconfigFile(source.kubeconfig, source.context)


class KubeconfigFile:
    """A kubeconfig; `context` empty: its current one."""

    def __init__(self, path: Path, context: str = "") -> None:
        self.path = path
        self.context = context
        self._signature: tuple[int, int, int] | None = None

    @property
    def place(self) -> str:
        return f"{self.path}: context {self.context}" if self.context else str(self.path)

    def changed(self) -> bool:
        return self._signature != self._look()

    def revoked(self) -> bool:
        return False

    async def credentials(self) -> Credentials:
        self._signature = self._look()
        return await loaded(await asyncio.to_thread(_read, self.path, self.context), str(self.path))

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class InCluster:
    """The service account of the pod that this runs in; its token is read again by itself."""

    place = "service account of this pod"

    def changed(self) -> bool:
        return False

    def revoked(self) -> bool:
        return False

    async def credentials(self) -> Credentials:
        await _imported()
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import ConfigException, load_incluster_config

        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)
            return _credentials(configuration)
        except (ConfigException, OSError) as error:
            raise SourceError(f"there is no service account to be used: {error}; inCluster: true works inside a pod only") from error


def read_kubeconfigs(paths: Sequence[Path], context: str) -> Kubeconfig:
    """One context of these files, which stand for one, as kubectl takes them: of several, those that aren't there are left out.
    Raises BadKubeconfig."""
    if len(paths) == 1:
        return _read(paths[0], context)
    there = [path for path in paths if path.exists()]
    place = os.pathsep.join(map(str, paths))
    if not there:
        raise BadKubeconfig(f"{place}: none of them is there")
    return chosen(merged([(_parsed(path), path.parent.absolute()) for path in there]), context, place, Path())


class RegisteredAccess:
    """To a cluster that comes and goes: by what is registered of it now. What another owner registered before is revoked."""

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self._file = _file_of(registration)
        self._changed = self._revoked = False

    @property
    def place(self) -> str:
        return self.registration.place

    def replace(self, registration: Registration) -> None:
        self._revoked = self._revoked or registration.owner != self.registration.owner
        self._changed = True
        if self._file is None or registration.file != self.registration.file:
            self._file = _file_of(registration)
        self.registration = registration

    def changed(self) -> bool:
        return self._changed or (self._file is not None and self._file.changed())

    def revoked(self) -> bool:
        return self._revoked

    async def credentials(self) -> Credentials:
        self._changed = self._revoked = False
        if self._file is not None:
            return await self._file.credentials()
        if self.registration.kubeconfig is None:
            raise SourceError(f"its kubeconfig is in {self.place}, which can't be read now")
        return await loaded(self.registration.kubeconfig, self.place)


def _file_of(registration: Registration) -> KubeconfigFile | None:
    return KubeconfigFile(registration.file) if registration.file is not None else None


def _read(path: Path, context: str) -> Kubeconfig:
    return chosen(_parsed(path), context, str(path), path.parent.absolute())


def _parsed(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except OSError as error:
        raise BadKubeconfig(f"{path}: it can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadKubeconfig(f"{path}: it is no UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark is not None else ""
        raise BadKubeconfig(f"{path}{at}: it is no YAML") from None  # its message would repeat the line, with a token in it


async def loaded(config: Kubeconfig, place: str) -> Credentials:
    """What a kubeconfig of one context gives: runs its exec plugin, reads the files that it names. Raises BadKubeconfig."""
    (user,), (cluster,) = config["users"], config["clusters"]
    if command := user["user"].get("exec"):
        if not isinstance(command, Mapping):
            raise BadKubeconfig(f"{place}: exec: expected a mapping")
        others = {key: value for key, value in user["user"].items() if key != "exec"}
        got = await exec_credential(command, cluster["cluster"], place)
        config = {**config, "users": [{**user, "user": {**others, **got}}]}
    await _imported()
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, load_kube_config_from_dict
    from kubernetes.aio.config.kube_config import _cleanup_temp_files

    configuration = Configuration()
    try:
        await load_kube_config_from_dict(config, client_configuration=configuration)
        return _credentials(configuration)
    except ConfigException as error:
        raise BadKubeconfig(f"{place}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadKubeconfig(f"{place}: its credentials can't be used: {type(error).__name__}: {_reason(error)}") from error
    finally:
        _cleanup_temp_files()  # keys and certificates are in the TLS context by now: they need not lie there until we end


async def _imported() -> None:
    """Imports the package in a thread: what else there is to do at the start goes on meanwhile."""
    await asyncio.to_thread(importlib.import_module, "kubernetes.aio.config")


def _credentials(configuration: "Configuration") -> Credentials:
    from kubernetes.aio.client.rest import RESTClientObject
    from kubernetes.aio.config import ConfigException

    # Python 3.13 refuses CAs without key identifiers, which many clusters have, and Go, hence kubectl, does not mind.
    configuration.disable_strict_ssl_verification = True

    async def headers() -> Mapping[str, str]:
        try:
            settings = await configuration.auth_settings()  # reads the service account's token again once a minute
        except (ConfigException, OSError) as error:
            raise SourceError(f"the token can't be read: {error}") from error
        value = (settings.get("BearerToken", {}).get("value") or "").strip()  # a token's file has a line's end
        if not (value.isascii() and value.isprintable()):
            raise SourceError("the token has characters in it that no token can have")
        return {"Authorization": value} if value else {}

    secure = configuration.host.startswith("https")
    return Credentials(
        server=configuration.host,
        headers=headers,
        tls=RESTClientObject(configuration).ssl_context if secure else None,
        server_name=configuration.tls_server_name or "",
        proxy=configuration.proxy or "",
    )


def _reason(error: Exception) -> str:
    """A text of the error that repeats nothing of what was read."""
    if isinstance(error, ssl.SSLError):
        return error.reason or "a certificate or key can't be read"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    return "a field of cluster or user is not as expected"
