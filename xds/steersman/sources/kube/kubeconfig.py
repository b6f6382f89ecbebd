"""Which cluster and user a kubeconfig means, checked and cut down to that. Pure; no message repeats a value that may be secret.

`chosen` takes what an operator wrote, `restricted` what anybody may have written who can write a Secret.
Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from steersman.errors import SourceError
from steersman.settings import Allowed
from steersman.sources.kube.plainyaml import NotPlain, plain

Kubeconfig = dict[str, Any]

_NAME = "steersman"
"""What everything is called in a kubeconfig that is cut down."""
_CLUSTER_PATHS = ("certificate-authority",)
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")
_CLUSTER_TEXTS = ("certificate-authority-data", "tls-server-name", "proxy-url")
_USER_TEXTS = ("token", "username", "password", "client-certificate-data", "client-key-data")
_IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")
_OIDC_TEXTS = ("client-id", "client-secret", "id-token", "idp-certificate-authority-data", "idp-issuer-url", "refresh-token")
_EXEC_TEXTS = ("apiVersion", "command", "interactiveMode")
_NOT_IN_URL = " ?#\\@"
_LONGEST_WORD = 100
"""Characters of a name from a stranger's kubeconfig that are repeated."""


class BadKubeconfig(SourceError):
    """It can't be used; the text says where and why."""


def chosen(config: object, context: str, place: str, base: Path) -> Kubeconfig:
    """A kubeconfig with one context, that of this name, or the current one where it is empty. Paths in it are made absolute: they are
    relative to `base`, the kubeconfig's directory. `place`: what messages call it. Raises BadKubeconfig."""
    cluster, user = _meant(config, context, place)
    return _whole(_absolute(cluster, _CLUSTER_PATHS, base), _absolute(user, _USER_PATHS, base))


def restricted(text: bytes, allow: Allowed) -> Kubeconfig:
    """The current context of a kubeconfig that is not to be trusted: a server with TLS, and credentials that stand in it. Whatever else
    would be run, read or asked must be allowed by name; what nobody needs is left out. Raises BadKubeconfig, with all that is refused.

    `proxy-url` is taken: it leads no further than `server`. Impersonation is refused, since the official package would pass over it, and
    act with the rights of the user that it was meant to do without.
    """
    try:
        config = plain(text)
    except NotPlain as error:
        raise BadKubeconfig(f"the kubeconfig can't be used: {error}") from None
    try:
        cluster, user = _meant(config, "", "the kubeconfig")
    except BadKubeconfig as error:
        raise BadKubeconfig(_short(str(error), 3 * _LONGEST_WORD)) from None
    refused = [*_refused_of_cluster(cluster, allow), *_refused_of_user(user, allow)]
    if refused:
        raise BadKubeconfig(f"the kubeconfig uses what is not allowed to one from a Secret: {'; '.join(refused)}")
    return _whole(_taken(cluster, (*_CLUSTER_TEXTS, *_CLUSTER_PATHS, "server", "insecure-skip-tls-verify")), _user_taken(user))


def _refused_of_cluster(cluster: Mapping[str, Any], allow: Allowed) -> Iterator[str]:
    yield from _refused_url(cluster["server"], "server", ("https", "http") if allow.insecure_servers else ("https",))
    if cluster.get("proxy-url"):
        yield from _refused_url(cluster["proxy-url"], "proxy-url", ("https", "http"))
    yield from _refused_files(cluster, _CLUSTER_PATHS, allow)
    unverified = cluster.get("insecure-skip-tls-verify")
    if unverified is not None and not isinstance(unverified, bool):
        yield "insecure-skip-tls-verify, which must be true or false"
    elif unverified and not allow.insecure_servers:
        yield "insecure-skip-tls-verify (allow.insecureServers)"


def _refused_of_user(user: Mapping[str, Any], allow: Allowed) -> Iterator[str]:
    yield from _refused_files(user, _USER_PATHS, allow)
    yield from (f"{key}: impersonation, which Steersman doesn't do" for key in _IMPERSONATION if user.get(key))
    if command := user.get("exec"):
        yield from _refused_command(command, allow)
    if provider := user.get("auth-provider"):
        name = provider.get("name") if isinstance(provider, dict) else None
        if not isinstance(name, str) or name not in allow.auth_providers:
            yield f"auth-provider {_short(name)} (allow.authProviders)"
        elif not isinstance(provider.get("config"), dict) or not all(isinstance(one, str) for one in provider["config"].values()):
            yield "an auth-provider whose config is no mapping of texts"


def _refused_command(command: object, allow: Allowed) -> Iterator[str]:
    if not isinstance(command, dict):
        yield "an exec that is no mapping"
        return
    if not isinstance(command.get("command"), str) or command["command"] not in allow.exec:
        yield f"exec of the command {_short(command.get('command'))} (allow.exec)"
    variables = command.get("env") or []
    if not isinstance(variables, list) or not all(isinstance(one, dict) for one in variables):
        yield "an exec whose env is no list of name and value"
        return
    for variable in variables:
        if not isinstance(name := variable.get("name"), str) or name not in allow.exec_env:
            yield f"exec with the environment variable {_short(name)} (allow.execEnv)"


def _refused_files(mapping: Mapping[str, Any], keys: tuple[str, ...], allow: Allowed) -> Iterator[str]:
    for key in keys:
        path = mapping.get(key)
        if path and (not isinstance(path, str) or path not in allow.files):
            yield f"{key}, the file {_short(path)} (allow.files)"


def _refused_url(url: str, key: str, schemes: tuple[str, ...]) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # which raises where the port is no number
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or set(url) & set(_NOT_IN_URL) or not url.isprintable():
        yield f"a {key} that is no URL of a host, without a user, query and fragment"
    elif parts.scheme not in schemes:
        yield f"a {key} by {_short(parts.scheme)}, expected {' or '.join(schemes)}{'' if 'http' in schemes else ' (allow.insecureServers)'}"


def _taken(mapping: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: mapping[key] for key in keys if mapping.get(key)}


def _user_taken(user: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is allowed, only what is understood."""
    taken = _taken(user, (*_USER_TEXTS, *_USER_PATHS))
    if command := user.get("exec"):
        taken["exec"] = _taken(command, (*_EXEC_TEXTS, "args", "env", "provideClusterInfo"))
    if provider := user.get("auth-provider"):
        taken["auth-provider"] = {"name": provider["name"], "config": _taken(provider["config"], _OIDC_TEXTS)}
    return taken


def _short(value: object, most: int = _LONGEST_WORD) -> str:
    """A stranger's word, in one line."""
    text = value if isinstance(value, str) else "that is not named"
    text = "".join(one if one.isprintable() else " " for one in text)
    return text if len(text) <= most else f"{text[:most]}..."


def _meant(config: object, context: str, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of the context, to be changed by the caller. Raises BadKubeconfig."""
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
    return cluster, user


def _whole(cluster: object, user: object) -> Kubeconfig:
    return {
        "current-context": _NAME,
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": user}],
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
