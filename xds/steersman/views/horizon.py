"""What of a standpoint decides endpoints: of all services, and of one."""

from functools import lru_cache

import msgspec

from steersman.model.ids import ClusterID
from steersman.model.mesh import Horizon, MeshService, Standpoint
from steersman.views.listeners import Callee

UNKNOWN_CLUSTER = ClusterID("(unknown)")
"""Stands in a horizon for the cluster of a proxy that didn't name one: nothing is local to it."""


def whole_horizon(standpoint: Standpoint, *, passthrough: bool = False) -> Horizon:
    """All that may decide endpoints, for any service; `narrowed` makes a service's own horizon of it. `passthrough`: for SNI clusters."""
    cluster = standpoint.cluster or UNKNOWN_CLUSTER
    return Horizon(
        network=standpoint.network,
        families=standpoint.families,
        view=standpoint.view,
        cluster=cluster,
        node=node_of(standpoint),
        own_network_only=passthrough or standpoint.network_gateway,
        mtls_only=passthrough,
        plaintext=standpoint.plaintext,
    )


def node_of(standpoint: Standpoint) -> str:
    """The proxy's node by its mesh-wide name CLUSTER/NODE, as in Traits; "" where it isn't known."""
    return f"{standpoint.cluster}/{standpoint.node}" if standpoint.node else ""


def narrowed(horizon: Horizon, service: MeshService | Callee) -> Horizon:
    """The horizon without what doesn't matter for this service: proxies of many clusters and nodes share it then."""
    return localised(horizon, cluster=service.cluster_local, node=service.node_local)


def localised(horizon: Horizon, *, cluster: bool, node: bool) -> Horizon:
    """The horizon without its cluster and node, unless they matter."""
    return _local(horizon, horizon.cluster if cluster else ClusterID(""), horizon.node if node else "")


@lru_cache(maxsize=1 << 12)
def _local(horizon: Horizon, cluster: ClusterID, node: str) -> Horizon:
    """Equal ones are one object: each stands in the keys of thousands of assignments."""
    return msgspec.structs.replace(horizon, cluster=cluster, node=node)


def horizon_of(standpoint: Standpoint, service: MeshService, *, passthrough: bool = False) -> Horizon:
    """What of a standpoint decides this service's endpoints."""
    return narrowed(whole_horizon(standpoint, passthrough=passthrough), service)
