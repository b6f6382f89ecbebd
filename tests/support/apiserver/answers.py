"""Bodies that the API server answers with beside objects: Status, and what stands where there is none."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tests.support.apiserver.kinds import Object
from tests.support.apiserver.store import Store

NOT_FOUND = b"404 page not found\n"
"""What a path that isn't served answers, as text/plain: no Status."""


def status(code: int, reason: str, message: str, *, details: Mapping[str, Any] | None = None, **metadata: Any) -> Object:
    """A failure. `reason` "": a Status that has none."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": metadata,
        "status": "Failure",
        "message": message,
        **({"reason": reason} if reason else {}),
        **({"details": dict(details)} if details else {}),
        "code": code,
    }


def expired(message: str, **metadata: Any) -> Object:
    return status(410, "Expired", message, **metadata)


def too_old(rv: int, oldest: int) -> Object:
    return expired(f"too old resource version: {rv} ({oldest})")


def too_new(rv: int, current: int) -> Object:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return status(504, "Timeout", f"Timeout: Too large resource version: {rv}, current: {current}", details=details)


def malformed(rv: str, *, listed: bool = False) -> Object:
    """A resourceVersion that is no number, of a watch or of a list."""
    message = f'resourceVersion: Invalid value: "{rv}": strconv.ParseUint: parsing "{rv}": invalid syntax'
    return status(400, "BadRequest", f"invalid resource version: {message}") if listed else status(500, "", message)


def bad_token() -> Object:
    return status(400, "BadRequest", "invalid continue token: continue key is not valid")


def unknown_resource() -> Object:
    """What a group of the server's own has no such resource of."""
    return status(404, "NotFound", "the server could not find the requested resource")


def unauthorized() -> Object:
    return status(401, "Unauthorized", "Unauthorized")


def forbidden(user: str, verb: str, group: str, plural: str, name: str = "") -> Object:
    resource = f"{plural}.{group}" if group else plural
    what = f'{resource} "{name}"' if name else resource
    message = f'{what} is forbidden: User "{user}" cannot {verb} resource "{plural}" in API group "{group}"'
    details = {key: value for key, value in (("name", name), ("group", group), ("kind", plural)) if value}
    return status(403, "Forbidden", f"{message} at the cluster scope", details=details)


def initializing() -> Object:
    """What the first watch of a custom resource is told that was defined a moment ago."""
    return status(429, "TooManyRequests", "storage is (re)initializing", details={"retryAfterSeconds": 1})


def no_watch_list() -> Object:
    """What a server without WatchList answers to `sendInitialEvents`."""
    return _options("sendInitialEvents", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")


def no_match() -> Object:
    """What `sendInitialEvents` alone is answered."""
    return _options("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")


def _options(field: str, why: str) -> Object:
    cause = {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": field}
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}
    return status(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {why}', details=details)


def discovery(store: Store, path: Sequence[str]) -> Object | None:
    """What these parts of a path below the root answer, where they name no resource."""
    match path:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = sorted({resource.group for resource in store.resources.values() if resource.group})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(store, group) for group in groups]}
        case ["apis", group] if _versions(store, group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(store, group)}
        case ["api", "v1"]:
            return _resources(store, "", "v1")
        case ["apis", group, version] if version in _versions(store, group):
            return _resources(store, group, version)
        case ["version"]:
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "linux/amd64"}
    return None


def encoded(body: Object) -> bytes:
    return msgspec.json.encode(body)


def _versions(store: Store, group: str) -> list[str]:
    """Served by any resource of the group, the preferred one first."""
    found: dict[str, None] = {}
    for resource in store.resources.values():
        if resource.group == group:
            found.update(dict.fromkeys(resource.versions))
    return list(found)


def _group(store: Store, group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(store, group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(store: Store, group: str, version: str) -> Object:
    listed = [
        {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        for resource in store.resources.values()
        if resource.group == group and version in resource.versions
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version, "resources": listed}
