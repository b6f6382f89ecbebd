"""Manifests: which resources a proxy is sent, by name, and where in the graph each one is."""

from collections.abc import Callable, Iterator
from typing import Any

from steersman.graph import NodeRef, Reader
from steersman.model.facts import LeafKey
from steersman.model.ids import ServicePortKey
from steersman.model.mesh import Horizon, Standpoint
from steersman.model.proxy import Interception
from steersman.names import (
    BLACK_HOLE,
    CDS,
    EDS,
    INBOUND_PASSTHROUGH,
    LDS,
    PASSTHROUGH,
    RDS,
    SDS,
    SECRET_LEAF,
    SECRET_ROOT,
    inbound_cluster,
    outbound_route,
)
from steersman.registry.collections import MESH_SERVICES, PROXIES
from steersman.resources.collections import (
    ASSIGNMENTS,
    FIXED_CLUSTERS,
    INBOUND_CLUSTERS,
    INBOUND_LISTENERS,
    LEAF_SECRETS,
    LOCAL_SERVICES,
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
    InboundClusterKey,
    PartKey,
)
from steersman.resources.inbound_listeners import (
    inbound_names,
)
from steersman.resources.proxyless import (
    dialled_names,
)
from steersman.views.collections import (
    CALLABLE,
    INBOUNDS,
    OUTBOUND_PORTS,
    OUTBOUNDS,
    ROUTERS,
    SERVERS,
    STANDPOINTS,
    SeenKey,
)
from steersman.views.horizon import localised, narrowed, whole_horizon
from steersman.views.ports import (
    routes_scope,
)
from steersman.views.scopes import (
    Endpoints,
    FixedClusters,
    Inbound,
    Outbound,
    OutboundClusters,
    PassthroughEndpoints,
    Proxyless,
    Router,
    Secrets,
)

Entry = tuple[str, NodeRef]
Table = tuple[PartKey, ...]


# -- what a proxy's tables are made of ------------------------------------------------------------------------------------------


def tables_of(read: Reader, node: str) -> tuple[Table, ...]:
    """The tables of a proxy, by what it is: a gRPC client, a router or a sidecar. In the order CDS, EDS, LDS, RDS, SDS."""
    proxy, standpoint = read(PROXIES, node), read(STANDPOINTS, node)
    if proxy is None or standpoint is None:
        return ()
    router, outbound = read(ROUTERS, node), read(OUTBOUNDS, node)
    if router is not None:
        return _router_tables(read, standpoint, router)
    if outbound is not None:
        inbound = read(INBOUNDS, node)
        return _sidecar_tables(read, standpoint, outbound, inbound.scope if inbound is not None else None)
    return _proxyless_tables(read, standpoint)


def _sidecar_tables(read: Reader, standpoint: Standpoint, outbound: Outbound, inbound: Inbound | None) -> tuple[Table, ...]:
    """`inbound` None: a bare Envoy, which nobody calls."""
    captured = inbound is not None and inbound.interception is not Interception.NONE
    fixed = FixedClusters((BLACK_HOLE, INBOUND_PASSTHROUGH, PASSTHROUGH) if captured else (BLACK_HOLE, PASSTHROUGH))
    of_workload = () if inbound is None else (inbound,)
    return (
        (PartKey(CDS, OutboundClusters(standpoint.namespace), by_name=outbound.on_demand), *_parts(CDS, fixed, *of_workload)),
        _parts(EDS, _endpoints(read, standpoint)),
        _parts(LDS, outbound, *of_workload),
        _parts(RDS, routes_scope(outbound)),
        _parts(SDS, Secrets(standpoint.cluster, standpoint.identity)),
    )


def _router_tables(read: Reader, standpoint: Standpoint, router: Router) -> tuple[Table, ...]:
    through = whole_horizon(standpoint, passthrough=True)
    passthrough = PassthroughEndpoints(router, _that_matters(read, router.namespace, through))
    return (
        _parts(CDS, OutboundClusters(standpoint.namespace), FixedClusters((BLACK_HOLE,)), router),
        _parts(EDS, _endpoints(read, standpoint), passthrough),
        _parts(LDS, router),
        _parts(RDS, router),
        _parts(SDS, Secrets(standpoint.cluster, standpoint.identity)),
    )


def _proxyless_tables(read: Reader, standpoint: Standpoint) -> tuple[Table, ...]:
    scope = Proxyless(standpoint.namespace, standpoint.cluster)
    return (_parts(CDS, scope), _parts(EDS, _endpoints(read, standpoint)), _parts(LDS, scope), _parts(RDS, scope))


def _parts(type_url: str, *scopes: Any) -> Table:
    return tuple(PartKey(type_url, scope) for scope in scopes)


def _endpoints(read: Reader, standpoint: Standpoint) -> Endpoints:
    namespace = standpoint.namespace
    return Endpoints(namespace, _that_matters(read, namespace, whole_horizon(standpoint)))


def _that_matters(read: Reader, namespace: str, horizon: Horizon) -> Horizon:
    cluster_local, node_local = read(LOCAL_SERVICES, namespace)
    return localised(horizon, cluster=cluster_local, node=node_local)


def local_services(read: Reader, namespace: str) -> tuple[bool, bool]:
    """Whether any service that a namespace may call is cluster-local, and whether any is node-local."""
    callees = read(CALLABLE, namespace)
    return any(callee.cluster_local for callee in callees), any(callee.node_local for callee in callees)


# -- what a part holds ----------------------------------------------------------------------------------------------------------


def manifest_of(read: Reader, key: PartKey) -> tuple[Entry, ...]:
    """The names of a part's resources with the values that hold them, sorted. A scope that the type has no use for is a KeyError."""
    return tuple(sorted(_ENTRIES[key.type_url, type(key.scope)](read, key.scope), key=_name))


def _name(entry: Entry) -> str:
    return entry[0]


def _outbound_clusters(read: Reader, scope: OutboundClusters) -> Iterator[Entry]:
    for callee in read(CALLABLE, scope.namespace):
        yield callee.cluster, NodeRef(OUTBOUND_CLUSTERS, callee.port)


def _proxyless_clusters(read: Reader, scope: Proxyless) -> Iterator[Entry]:
    for callee in read(CALLABLE, scope.namespace):
        yield callee.cluster, NodeRef(PROXYLESS_CLUSTERS, callee.port)


def _fixed_clusters(read: Reader, scope: FixedClusters) -> Iterator[Entry]:
    for name in scope.names:
        yield name, NodeRef(FIXED_CLUSTERS, name)


def _inbound_clusters(read: Reader, scope: Inbound) -> Iterator[Entry]:
    for port in scope.ports:
        yield (
            inbound_cluster(port.port),
            NodeRef(INBOUND_CLUSTERS, InboundClusterKey(port.port, port.protocol, scope.interception, scope.app)),
        )


def _passthrough_clusters(read: Reader, scope: Router) -> Iterator[Entry]:
    for admitted in read(SERVERS, scope).passthrough:
        yield admitted.sni, NodeRef(PASSTHROUGH_CLUSTERS, admitted.service)


def _assignments(read: Reader, scope: Endpoints) -> Iterator[Entry]:
    for callee in read(CALLABLE, scope.namespace):
        if not callee.external:
            yield _assignment(callee.cluster, callee.port, narrowed(scope.horizon, callee))


def _passthrough_assignments(read: Reader, scope: PassthroughEndpoints) -> Iterator[Entry]:
    for admitted in read(SERVERS, scope.router).passthrough:
        service = read(MESH_SERVICES, admitted.service.service)
        if service is not None:
            yield _assignment(admitted.sni, admitted.service, narrowed(scope.horizon, service))


def _outbound_listeners(read: Reader, scope: Outbound) -> Iterator[Entry]:
    for listener in read(OUTBOUND_PORTS, scope).listeners:
        yield listener.name, NodeRef(OUTBOUND_LISTENERS, listener)


def _inbound_listeners(read: Reader, scope: Inbound) -> Iterator[Entry]:
    for name in inbound_names(scope):
        yield name, NodeRef(INBOUND_LISTENERS, (scope, name))


def _router_listeners(read: Reader, scope: Router) -> Iterator[Entry]:
    for port in read(SERVERS, scope).ports:
        yield port.name, NodeRef(ROUTER_LISTENERS, (scope, port.name))


def _proxyless_listeners(read: Reader, scope: Proxyless) -> Iterator[Entry]:
    for callee in read(CALLABLE, scope.namespace):
        for name in dialled_names(read, callee.port, scope.namespace):
            yield name, NodeRef(PROXYLESS_LISTENERS, (name, callee.port))


def _outbound_routes(read: Reader, scope: Outbound) -> Iterator[Entry]:
    for number, _ in read(OUTBOUND_PORTS, scope).http:
        yield outbound_route(number), NodeRef(OUTBOUND_ROUTES, (scope, number))


def _router_routes(read: Reader, scope: Router) -> Iterator[Entry]:
    for name, _ in read(SERVERS, scope).routes:
        yield name, NodeRef(ROUTER_ROUTES, (scope, name))


def _proxyless_routes(read: Reader, scope: Proxyless) -> Iterator[Entry]:
    for callee in read(CALLABLE, scope.namespace):
        yield callee.cluster, NodeRef(PROXYLESS_ROUTES, callee.port)


def _secrets(read: Reader, scope: Secrets) -> Iterator[Entry]:
    yield SECRET_ROOT, NodeRef(ROOT_SECRETS, "")
    yield SECRET_LEAF, NodeRef(LEAF_SECRETS, LeafKey(scope.cluster, scope.identity))


def _assignment(name: str, port: ServicePortKey, horizon: Horizon) -> Entry:
    return name, NodeRef(ASSIGNMENTS, (name, SeenKey(port, horizon)))


_ENTRIES: dict[tuple[str, type], Callable[[Reader, Any], Iterator[Entry]]] = {
    (CDS, OutboundClusters): _outbound_clusters,
    (CDS, Proxyless): _proxyless_clusters,
    (CDS, FixedClusters): _fixed_clusters,
    (CDS, Inbound): _inbound_clusters,
    (CDS, Router): _passthrough_clusters,
    (EDS, Endpoints): _assignments,
    (EDS, PassthroughEndpoints): _passthrough_assignments,
    (LDS, Outbound): _outbound_listeners,
    (LDS, Inbound): _inbound_listeners,
    (LDS, Router): _router_listeners,
    (LDS, Proxyless): _proxyless_listeners,
    (RDS, Outbound): _outbound_routes,
    (RDS, Router): _router_routes,
    (RDS, Proxyless): _proxyless_routes,
    (SDS, Secrets): _secrets,
}
