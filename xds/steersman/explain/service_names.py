"""Which service a user means by a name, as a client would say it."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from steersman.errors import SteersmanError
from steersman.graph import Reader
from steersman.model.ids import ServiceKey
from steersman.model.mesh import MeshService
from steersman.registry.collections import MESH_SERVICES, SERVICE_KEYS
from steersman.registry.mesh import mesh_of

_SHOWN = 5


class UnknownService(SteersmanError):
    """No service, or no port of it, has that name; the text lists near ones."""


class UnclearService(SteersmanError):
    """The name has the wrong form, or fits several services; the text says how to ask better."""


class Named(NamedTuple):
    """A service, and one of its ports; None for all."""

    service: ServiceKey
    port: int | None


def service_named(read: Reader, text: str, namespace: str = "") -> Named:
    """The service that this text means to a client in that namespace: NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or the full host, each
    with :PORT (by number or name) or without.

    A bare NAME is the client's own namespace's, else the only one of that name. Raises UnknownService or UnclearService.
    """
    host, colon, port = text.strip().partition(":")
    host = host.lower().rstrip(".")
    if not host or (colon and not port):
        raise UnclearService(f"{text!r} names no service; write NAME, NAME.NAMESPACE or the full host, with :PORT for one port")
    key = _service(read, host, namespace)
    return Named(key, _port(read, key, port) if port else None)


def _service(read: Reader, host: str, namespace: str) -> ServiceKey:
    keys = read(SERVICE_KEYS, "")
    name, _, rest = host.partition(".")
    if rest:
        key = ServiceKey(_namespace_in(rest, mesh_of(read).domain), name)
        if key in keys:
            return key
        raise UnknownService(f"no cluster has a Service {name} in namespace {key.namespace}{_near(host, keys)}")
    if (own := ServiceKey(namespace, name)) in keys:
        return own
    found = [key for key in keys if key.name == name]
    if not found:
        raise UnknownService(f"no cluster has a Service {name}{_near(host, keys)}")
    if len(found) > 1:
        raise UnclearService(f"{name!r} fits {len(found)} services; say which: {_listed(_short(key) for key in found)}")
    return found[0]


def _namespace_in(rest: str, domain: str) -> str:
    """What stands after NAME without .svc and the mesh's domain. Of another domain's host it is all that stands there, which no namespace
    is called."""
    for suffix in (f".svc.{domain}", ".svc"):
        if rest.endswith(suffix):
            return rest.removesuffix(suffix)
    return rest


def _port(read: Reader, key: ServiceKey, text: str) -> int:
    service: MeshService | None = read(MESH_SERVICES, key)
    ports = service.ports if service is not None else ()
    for port in ports:
        if text in (str(port.port), port.name):
            return port.port
    has = ", ".join(f"{port.port} ({port.name})" if port.name else str(port.port) for port in ports) or "none"
    raise UnknownService(f"{_short(key)} has no port {text}; its ports: {has}")


def _near(host: str, keys: Iterable[ServiceKey]) -> str:
    """A hint: names that are written similarly, in whatever namespace."""
    every = list(keys)
    if not every:
        return "; no cluster has any Service"
    name, _, rest = host.partition(".")
    same = [_short(key) for key in every if key.name == name]
    near = same or [
        *get_close_matches(f"{name}.{rest}" if rest else name, [_short(key) for key in every], _SHOWN, 0.7),
        *(_short(key) for key in every if get_close_matches(name, [key.name], 1, 0.7)),
    ]
    return f"; near: {_listed(dict.fromkeys(near))}" if near else f"; there are {len(every)}, such as {_listed(map(_short, every[:3]))}"


def _short(key: ServiceKey) -> str:
    return f"{key.name}.{key.namespace}"


def _listed(names: Iterable[str]) -> str:
    held = list(names)
    more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
    return ", ".join(held[:_SHOWN]) + more
