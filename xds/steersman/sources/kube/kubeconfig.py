"""Which cluster and user a kubeconfig means, checked and cut down to that. Pure; no message repeats a value that may be secret.

Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from steersman.errors import SourceError

Kubeconfig = dict[str, Any]

_NAME = "steersman"
"""What everything is called in a kubeconfig that is cut down."""
_CLUSTER_PATHS = ("certificate-authority",)
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")
_CLUSTER_TEXTS = ("certificate-authority-data", "tls-server-name", "proxy-url")
_USER_TEXTS = ("token", "username", "password", "client-certificate-data", "client-key-data")


class BadKubeconfig(SourceError):
    """It can't be used; the text says where and why."""


def chosen(config: object, context: str, place: str, base: Path) -> Kubeconfig:
    """A kubeconfig with one context, that of this name, or the current one where it is empty. Paths in it are made absolute: they are
    relative to `base`, the kubeconfig's directory. `place`: what messages call it. Raises BadKubeconfig."""
    root = _mapping(config, place, "a kubeconfig")
    name = context or _text(root.get("current-context"), f"{place}: current-context")
    if not name:
        raise BadKubeconfig(f"{place}: it names no current-context; choose one: {_names(root, 'contexts')}")
    wanted = _named(root, "contexts", name, "context", place)
    cluster = dict(_named(root, "clusters", _text(wanted.get("cluster"), f"{place}: context {name}: cluster"), "cluster", place))
    user_name = _text(wanted.get("user"), f"{place}: context {name}: user")
    user = dict(_named(root, "users", user_name, "user", place)) if user_name else {}
    server = _text(cluster.get("server"), f"{place}: server")
    if not server.startswith(("https://", "http://")):
        raise BadKubeconfig(f"{place}: the cluster of context {name} has server {server!r}; expected a URL of http or https")
    for mapping, keys in ((cluster, (*_CLUSTER_PATHS, *_CLUSTER_TEXTS)), (user, (*_USER_PATHS, *_USER_TEXTS))):
        for key in keys:
            _text(mapping.get(key), f"{place}: {key}")
    return {
        "current-context": _NAME,
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "clusters": [{"name": _NAME, "cluster": _absolute(cluster, _CLUSTER_PATHS, base)}],
        "users": [{"name": _NAME, "user": _absolute(user, _USER_PATHS, base)}],
    }


def merged(configs: Sequence[tuple[object, Path]]) -> Kubeconfig:
    """Several kubeconfigs as one, as kubectl takes those of $KUBECONFIG: of two entries of one name, and of two current contexts, the first
    counts. Each comes with its directory, to which its paths are relative; they are absolute afterwards."""
    found: Kubeconfig = {"current-context": "", "clusters": [], "contexts": [], "users": []}
    for config, base in configs:
        if not isinstance(config, Mapping):
            continue
        found["current-context"] = found["current-context"] or config.get("current-context") or ""
        found["contexts"] += _entries(config, "contexts")
        for key, inner, paths in (("clusters", "cluster", _CLUSTER_PATHS), ("users", "user", _USER_PATHS)):
            found[key] += [{**entry, inner: _absolute(entry.get(inner), paths, base)} for entry in _entries(config, key)]
    return found


def _absolute(value: object, paths: Sequence[str], base: Path) -> object:
    """This cluster or user with absolute paths; what is no mapping stays, and is told of when it is chosen."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = dict(value)
    for key in paths:
        if isinstance(path := found.get(key), str) and path:
            found[key] = str(base / path)
    command = found.get("exec")
    if isinstance(command, Mapping) and "/" in str(command.get("command", "")):
        found["exec"] = {**command, "command": str(base / str(command["command"]))}
    return found


def _mapping(value: object, place: str, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadKubeconfig(f"{place}: expected {what}, a mapping")
    return cast("Mapping[str, Any]", value)


def _text(value: object, place: str) -> str:
    if value is not None and not isinstance(value, str):
        raise BadKubeconfig(f"{place}: expected a text")
    return value or ""


def _entries(root: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = root.get(key)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _names(root: Mapping[str, Any], key: str) -> str:
    return ", ".join(str(entry.get("name")) for entry in _entries(root, key)) or f"it has no {key}"


def _named(root: Mapping[str, Any], key: str, name: str, inner: str, place: str) -> Mapping[str, Any]:
    """What the first entry of this name in the list under `key` holds under `inner`."""
    for entry in _entries(root, key):
        if entry.get("name") == name:
            return _mapping(entry.get(inner) or {}, f"{place}: {key}: {name}", f"{inner}:")
    raise BadKubeconfig(f"{place}: it has no {inner} {name!r}; there are: {_names(root, key)}")
