"""The discovery services of the xDS address: the aggregated one, and one for each type. They differ in what a stream may ask for alone."""

from typing import Final, NamedTuple

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS, SDS

_STREAMED: Final = {Variant.SOTW: "Stream", Variant.DELTA: "Delta"}


class Service(NamedTuple):
    """`short`: its name in metrics and commands. `name`: gRPC's. `noun`: what its methods are called after. `type_url`: the one type that
    there is on its streams; "" for all."""

    short: str
    name: str
    noun: str
    type_url: str = ""

    def streamed(self, variant: Variant) -> str:
        """The method of a stream of that variant."""
        return _STREAMED[variant] + self.noun

    @property
    def fetched(self) -> str:
        """The unary method; "" where there is none."""
        return f"Fetch{self.noun}" if self.type_url else ""


ADS: Final = Service("ads", "envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources")

SERVICES: Final = (
    ADS,
    Service("cds", "envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", CDS),
    Service("eds", "envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", EDS),
    Service("lds", "envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", LDS),
    Service("rds", "envoy.service.route.v3.RouteDiscoveryService", "Routes", RDS),
    Service("sds", "envoy.service.secret.v3.SecretDiscoveryService", "Secrets", SDS),
)
