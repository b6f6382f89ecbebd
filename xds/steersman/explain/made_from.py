"""Which objects a resource was made from, the most telling first: what to look at when a client refuses it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from steersman.explain.explain import KINDS, Written
from steersman.explain.explanation import Reference
from steersman.graph import Collection, NodeRef, Reader, Table
from steersman.model.facts import Origin
from steersman.model.ids import ServiceKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind, Row
from steersman.names import parse_cluster
from steersman.pipeline import Cause
from steersman.registry.services import services_named
from steersman.resources.collections import (
    ASSIGNMENTS,
    INBOUND_CLUSTERS,
    INBOUND_LISTENERS,
    LEAF_SECRETS,
    MANIFESTS,
    OUTBOUND_CLUSTERS,
    OUTBOUND_LISTENERS,
    OUTBOUND_ROUTES,
    PASSTHROUGH_CLUSTERS,
    PROXYLESS_CLUSTERS,
    PROXYLESS_LISTENERS,
    PROXYLESS_ROUTES,
    ROOT_SECRETS,
    ROUTER_LISTENERS,
    ROUTER_ROUTES,
    TABLES_OF,
    PartKey,
)
from steersman.resources.resource import Resource
from steersman.views.collections import OUTBOUND_PORTS, STANDPOINTS
from steersman.views.listeners import HTTPListener, TCPListener

SHOWN: Final = 6
"""Objects named of a resource."""
_LOOKED_AT: Final = 500
"""Values looked at for what a resource was computed from: those next to it tell more than those behind them."""
_BEHIND: Final = frozenset((Kind.MESH, Kind.CLUSTER, Kind.CLUSTER_STATE, Kind.PROXY, Kind.NAMESPACE, Kind.NODE, Kind.FINDING))
"""Nearly everything is computed from these, so that they tell nothing."""

NearestInputs = Callable[[Collection[Any, Any], Any, int], tuple[NodeRef, ...]]
"""Graph.inputs_of, with how many values it may look at."""


class MadeFrom(Row, frozen=True, kw_only=True):
    """`objects`: at most SHOWN, first those that asked for the resource, then those that it was computed from, and of each those before
    that the client's words name. `others`: how many more were found. `changed`: it has become another since, or is gone; then the objects
    are those of what it is now."""

    objects: tuple[Reference, ...] = ()
    others: int = 0
    changed: bool = False


def made_from(
    read: Reader,
    inputs_of: NearestInputs,
    origins: Mapping[Cause, Origin],
    node_id: str,
    resource: tuple[str, str, str],
    words: str = "",
) -> MadeFrom:
    """Of a resource (type URL, name, version) that this proxy was sent; `words`: what the client said of it.

    Costs the same in every mesh. A proxy or a name that is not known any more is `changed`, without objects.
    """
    type_url, name, version = resource
    part, ref = _place(read, node_id, type_url, name)
    if part is None or ref is None:
        return MadeFrom(changed=True)

    def told(key: Any) -> bool:
        return f"{key.name}.{key.namespace}" in words if hasattr(key, "namespace") else False

    services = sorted(dict.fromkeys(_services(read, part, ref)), key=lambda key: not told(key))
    asked = [ObjectRef(Kind.SERVICE, one.key) for key in services[:SHOWN] for one in services_named(read, key)]
    asked += _objects(read, node_id, part, ref)
    behind = [
        ObjectRef(KINDS[one.collection], one.key)
        for one in inputs_of(ref.collection, ref.key, _LOOKED_AT)
        if isinstance(one.collection, Table)
    ]
    behind = sorted((one for one in behind if one.kind not in _BEHIND), key=lambda one: not told(one.key))
    there = [one for one in dict.fromkeys((*asked, *behind)) if (one.kind, one.key) in origins]
    value = read(ref.collection, ref.key)
    written = Written(origins)
    return MadeFrom(
        objects=tuple(written.reference(one) for one in there[:SHOWN]),
        others=max(0, len(there) - SHOWN) + max(0, len(services) - SHOWN),
        changed=not (isinstance(value, Resource) and value.version == version),
    )


def _place(read: Reader, node_id: str, type_url: str, name: str) -> tuple[PartKey | None, NodeRef | None]:
    """Where a proxy has this name from."""
    for table in read(TABLES_OF, node_id):
        for part in table:
            if part.type_url != type_url:
                continue
            entries = read(MANIFESTS, part)
            at = bisect_left(entries, name, key=lambda entry: entry[0])
            if at < len(entries) and entries[at][0] == name:
                return part, entries[at][1]
    return None, None


# -- who asked for it -------------------------------------------------------------------------------------------------------------
# Without these there would be no such resource, as far as its own key, or that of its part, says.


def _services(read: Reader, part: PartKey, ref: NodeRef) -> Iterator[ServiceKey]:
    key: Any = ref.key
    scope: Any = part.scope
    if ref.collection in _OF_SERVICE:
        yield key.service
    elif ref.collection is ASSIGNMENTS:
        yield key[1].port.service
    elif ref.collection is PROXYLESS_LISTENERS:
        yield key[1].service
    elif ref.collection is OUTBOUND_ROUTES:
        yield from _by_host(read, scope, key[1])
    elif ref.collection is OUTBOUND_LISTENERS and isinstance(key, HTTPListener):
        yield from _by_host(read, scope, key.port)
    elif ref.collection is OUTBOUND_LISTENERS and isinstance(key, TCPListener):
        named = parse_cluster(key.cluster)
        if named is not None:
            name, _, rest = named.host.partition(".")
            yield ServiceKey(rest.partition(".")[0], name)
    elif ref.collection in (INBOUND_LISTENERS, INBOUND_CLUSTERS):
        for port in scope.ports:
            if ref.collection is INBOUND_LISTENERS or port.port == key.port:
                yield from (one.service for one in port.services)


_OF_SERVICE: Final = (OUTBOUND_CLUSTERS, PASSTHROUGH_CLUSTERS, PROXYLESS_CLUSTERS, PROXYLESS_ROUTES)


def _by_host(read: Reader, scope: Any, number: int) -> Iterator[ServiceKey]:
    """All services that share a port, told apart by Host."""
    for port, claims in read(OUTBOUND_PORTS, scope).http:
        if port == number:
            yield from (claim.service.service for claim in claims)


def _objects(read: Reader, node_id: str, part: PartKey, ref: NodeRef) -> Iterator[ObjectRef]:
    """Beside services."""
    key: Any = ref.key
    scope: Any = part.scope
    if ref.collection in (ROUTER_LISTENERS, ROUTER_ROUTES):
        yield from (ObjectRef(Kind.GATEWAY, gateway) for gateway in scope.gateways)
    elif ref.collection is LEAF_SECRETS:
        yield ObjectRef(Kind.LEAF, key)
    elif ref.collection is ROOT_SECRETS:
        yield ObjectRef(Kind.ROOT, key)
    if ref.collection in (INBOUND_LISTENERS, INBOUND_CLUSTERS, LEAF_SECRETS):
        standpoint = read(STANDPOINTS, node_id)
        if standpoint is not None and standpoint.pod is not None:
            yield ObjectRef(Kind.POD, standpoint.pod)
