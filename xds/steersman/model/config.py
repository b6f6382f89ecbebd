"""The parts of the configuration that decide what proxies see; they enter the pipeline as facts of kind MESH and CLUSTER."""

from enum import StrEnum

from steersman.model.ids import ClusterID, NetworkID
from steersman.model.objects import Row


class MissingGateway(StrEnum):
    """What happens to endpoints on another network that has no gateway: left out, or sent as they are (Istio's way)."""

    WITHHOLD = "withhold"
    DIRECT = "direct"


class Passthrough(StrEnum):
    """How an AUTO_PASSTHROUGH gateway picks the cluster: one filter chain per SNI name, or Envoy's sni_cluster filter."""

    FILTER_CHAINS = "filterChains"
    SNI_CLUSTER = "sniCluster"


class OutboundTrafficPolicy(StrEnum):
    ALLOW_ANY = "ALLOW_ANY"
    REGISTRY_ONLY = "REGISTRY_ONLY"


class NetworkEndpoints(Row, frozen=True, kw_only=True):
    """Which endpoints belong to a network: those of a cluster, or those in an address range (canonical CIDR); the other is ""."""

    from_registry: ClusterID = ClusterID("")
    from_cidr: str = ""


class NetworkGatewayConfig(Row, frozen=True, kw_only=True):
    """A gateway named in mesh.networks: by address (IP or hostname), or by the Service that fronts it; the other is ""."""

    address: str = ""
    registry_service_name: str = ""
    port: int = 15443


class NetworkConfig(Row, frozen=True, kw_only=True):
    """One entry of mesh.networks. `missing_gateway` None: the mesh's setting holds."""

    name: NetworkID
    endpoints: tuple[NetworkEndpoints, ...] = ()
    gateways: tuple[NetworkGatewayConfig, ...] = ()
    missing_gateway: MissingGateway | None = None


class MeshConfig(Row, frozen=True, kw_only=True):
    """The mesh section (kind MESH, key: the empty string). `networks` in the order of the file: the first that claims an endpoint wins."""

    domain: str = "cluster.local"
    trust_domain: str = "cluster.local"
    root_namespace: str = "istio-system"
    missing_gateway: MissingGateway = MissingGateway.WITHHOLD
    passthrough: Passthrough = Passthrough.FILTER_CHAINS
    networks: tuple[NetworkConfig, ...] = ()
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy.ALLOW_ANY
    locality_lb_enabled: bool = True


class ClusterConfig(Row, frozen=True, kw_only=True):
    """One entry of clusters (kind CLUSTER, key: its name). Empty `network`: not set; empty `trust_domain`: the mesh's.

    `slices_only`: a controller writes its EndpointSlices, so that a Service without any has no endpoints; else it has those of its Pods.
    """

    name: ClusterID
    network: NetworkID = NetworkID("")
    trust_domain: str = ""
    slices_only: bool = False
