"""The collections of the views."""

from steersman.graph import Derived
from steersman.model.ids import Key, ServiceKey, ServicePortKey
from steersman.model.mesh import Horizon, Layout, Shape, SplitHorizon, Standpoint, Traits, Verdict
from steersman.views.listeners import Admission, Callee, Claims, Doors, InboundPorts, OutboundPorts, RouteHosts, ServerPorts, Servers
from steersman.views.scopes import Catchment, Outbound, Router


class VerdictKey(Key, frozen=True, order=True):
    traits: Traits
    horizon: Horizon


class LayoutKey(Key, frozen=True, order=True):
    shape: Shape
    horizon: Horizon


class SeenKey(Key, frozen=True, order=True):
    """A service port as seen from a horizon."""

    port: ServicePortKey
    horizon: Horizon


STANDPOINTS: Derived[str, Standpoint | None] = Derived("standpoints")
"""By node id; None where no such proxy is connected."""

VERDICTS: Derived[VerdictKey, Verdict] = Derived("verdicts")
"""The one answer to "in or out, by which rule": split horizon and explain read the same."""

LAYOUTS: Derived[LayoutKey, Layout] = Derived("layouts")
"""What services of one shape have in common as seen from a horizon."""

SEEN: Derived[SeenKey, SplitHorizon] = Derived("seen")

# -- what is listened on ------------------------------------------------------------------------------------------------------

TRUST_DOMAINS: Derived[str, tuple[str, ...]] = Derived("trust_domains")
"""Every trust domain of the mesh, sorted; key "" ."""

INBOUNDS: Derived[str, InboundPorts | None] = Derived("inbounds")
"""By node id; None for a router, a gRPC client, a bare Envoy, and where no such proxy is connected."""

OUTBOUNDS: Derived[str, Outbound | None] = Derived("outbounds")
"""By node id: the scope of a sidecar's outbound listeners and routes; None for any other."""

ROUTERS: Derived[str, Router | None] = Derived("routers")
"""By node id: the scope of a router's listeners and routes; None for any other."""

CALLEES: Derived[ServiceKey, tuple[Callee, ...]] = Derived("callees")
"""By number of the port; empty where there is no such service."""

CALLABLE: Derived[str, tuple[Callee, ...]] = Derived("callable")
"""By the client's namespace: all that it may call, sorted by the cluster's name."""

CLAIMS: Derived[tuple[ServiceKey, Catchment], Claims] = Derived("claims")
"""What one service asks for; OUTBOUND_PORTS settles who gets it."""

OUTBOUND_PORTS: Derived[Outbound, OutboundPorts] = Derived("outbound_ports")

ROUTE_HOSTS: Derived[tuple[Outbound, int], RouteHosts] = Derived("route_hosts")
"""By scope (with `bind` and `taken` empty, since no route depends on them) and port number."""

SERVER_PORTS: Derived[Router, ServerPorts] = Derived("server_ports")
"""A router's ports and doors; ADMISSIONS says who comes in by them, SERVERS puts both together."""

ADMISSIONS: Derived[tuple[ServiceKey, Doors], Admission] = Derived("admissions")

SERVERS: Derived[Router, Servers] = Derived("servers")
