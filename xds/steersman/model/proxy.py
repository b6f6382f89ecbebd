"""A connected proxy, as its Node and its connection describe it."""

from enum import StrEnum

from steersman.model.ids import ClusterID, Labels, Locality, NetworkID
from steersman.model.objects import Row


class ProxyType(StrEnum):
    SIDECAR = "sidecar"
    ROUTER = "router"


class Interception(StrEnum):
    """INTERCEPTION_MODE: how traffic gets into the proxy. NONE: clients connect to listeners that are really bound."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class Proxy(Row, frozen=True, kw_only=True):
    """One client, as first told on its stream (kind PROXY, key: `id`).

    `id`: CLUSTER_ID/NODE_ID, or the node id alone where no cluster is told; where networks overlap, node ids alone are not unique.
    What the Node leaves open is empty here, not guessed; `inferred` says in words what the parser filled in by rule, for explain.
    `network_view` None means all networks. `ip`: from the id, else the peer's address. `instance_ips`: canonical.
    """

    id: str
    type: ProxyType = ProxyType.SIDECAR
    ip: str = ""
    name: str = ""
    namespace: str = "default"
    cluster: ClusterID = ClusterID("")
    network: NetworkID = NetworkID("")
    labels: Labels = ()
    service_account: str = ""
    workload: str = ""
    instance_ips: tuple[str, ...] = ()
    network_view: tuple[NetworkID, ...] | None = None
    interception: Interception = Interception.REDIRECT
    generator: str = ""
    locality: Locality = Locality()
    outbound_address: str = "127.0.0.1"
    app_address: str = "127.0.0.1"
    unprivileged_ports: bool = False
    on_demand_clusters: bool = False
    bare: bool = False
    inferred: tuple[str, ...] = ()

    @property
    def is_proxyless(self) -> bool:
        """Whether it is a gRPC client that is its own proxy (metadata GENERATOR)."""
        return self.generator == "grpc"
