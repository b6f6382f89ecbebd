"""In or out, by which rule and objects: the rules of split horizon, judged once for all endpoints that they can't tell apart."""

from typing import assert_never

from msgspec import structs

from steersman.graph import Reader
from steersman.model.clusters import OutagePolicy
from steersman.model.config import MissingGateway
from steersman.model.ids import IPFamily, NetworkID
from steersman.model.mesh import Horizon, NetworkGateway, ObjectRef, Rule, Traits, Twin, Verdict
from steersman.model.objects import Kind
from steersman.registry.addresses import parse_address
from steersman.registry.collections import CLUSTER_OUTAGES, NETWORK_GATEWAYS
from steersman.registry.mesh import mesh_of
from steersman.views.collections import VerdictKey


def verdict(read: Reader, key: VerdictKey) -> Verdict:
    """Whether a proxy with this horizon gets endpoints with these traits, and how it reaches them.

    First what holds for the service wherever its endpoints are (cluster-local, node-local, one address a pod, the requested view, SNI
    clusters), then the rules of split horizon in the order 1 (which gave the traits their network), 2, 3, 5, 4, at last the outage policy.
    Source: DESIGN 4; Istio, pilot/pkg/xds/endpoints/ep_filters.go.
    """
    traits, horizon = key.traits, key.horizon
    return _refused(traits, horizon) or _in_outage(read, traits, _reached(read, traits, horizon))


def _in_outage(read: Reader, traits: Traits, reached: Verdict) -> Verdict:
    """What the outage policy of the endpoint's cluster makes of it, while that cluster's API is silent."""
    outage = read(CLUSTER_OUTAGES, traits.cluster) if reached.rule.admits else OutagePolicy.KEEP
    because = (*reached.because, ObjectRef(Kind.CLUSTER_STATE, traits.cluster))
    silent = f"the API of cluster {traits.cluster} has been silent for long"
    match outage:
        case OutagePolicy.KEEP:
            return reached
        case OutagePolicy.DEMOTE:
            note = f"{reached.note}; behind the endpoints of other clusters, as {silent}"
            return structs.replace(reached, demoted=True, because=because, note=note)
        case OutagePolicy.DROP:
            return Verdict(rule=Rule.CLUSTER_OUTAGE, because=because, note=f"{silent}, and the outage policy is to drop its endpoints")
    assert_never(outage)


def _refused(traits: Traits, horizon: Horizon) -> Verdict | None:
    if horizon.cluster and traits.cluster != horizon.cluster:
        return Verdict(rule=Rule.CLUSTER_LOCAL)
    if traits.node and traits.node != horizon.node:
        return Verdict(rule=Rule.NODE_LOCAL)
    if not _stands_for_its_pod(traits, horizon):
        return Verdict(rule=Rule.OTHER_FAMILY)
    if horizon.view is not None and traits.network and traits.network not in horizon.view:
        return Verdict(rule=Rule.NETWORK_VIEW)
    if horizon.mtls_only and not traits.mtls:
        return Verdict(rule=Rule.PASSTHROUGH_NOT_MTLS)
    return None


def _stands_for_its_pod(traits: Traits, horizon: Horizon) -> bool:
    """Of a pod's two addresses: the first of the service's families that the proxy can use."""
    if traits.twin is Twin.ALONE:
        return True
    if traits.twin is Twin.FIRST:
        return traits.family in horizon.families
    return _OTHER[traits.family] not in horizon.families


_OTHER = {IPFamily.IPV4: IPFamily.IPV6, IPFamily.IPV6: IPFamily.IPV4}


def _reached(read: Reader, traits: Traits, horizon: Horizon) -> Verdict:
    network = traits.network
    if not network:
        return Verdict(rule=Rule.DIRECT, note="the endpoint's network is unknown")
    if network == horizon.network:
        return Verdict(rule=Rule.DIRECT, note=f"both are on network {network}")
    gateways = read(NETWORK_GATEWAYS, network)
    if not horizon.network and not gateways.gateways:
        return Verdict(rule=Rule.DIRECT, note=f"the proxy's network is unknown, and network {network} has no gateway")
    if horizon.own_network_only:
        return Verdict(rule=Rule.OTHER_NETWORK_AT_GATEWAY, note=f"a second gateway would lie between, that of network {network}")
    if not gateways.gateways:
        return _without_gateway(read, network, tuple(source for source, _ in gateways.ignored))
    return _through(gateways.gateways, traits, horizon)


def _without_gateway(read: Reader, network: NetworkID, ignored: tuple[ObjectRef, ...]) -> Verdict:
    """Rule 5. What might have been a gateway is named, as it is what has to be mended."""
    mesh = mesh_of(read)
    own = next((config.missing_gateway for config in mesh.networks if config.name == network), None)
    because = tuple(dict.fromkeys((*ignored, ObjectRef(Kind.MESH, ""))))
    if (own or mesh.missing_gateway) is MissingGateway.DIRECT:
        return Verdict(rule=Rule.DIRECT_NO_GATEWAY, because=because, note=f"network {network} has no gateway, missingGateway is direct")
    return Verdict(rule=Rule.NO_GATEWAY, because=because, note=f"network {network} has no gateway")


def _through(gateways: tuple[NetworkGateway, ...], traits: Traits, horizon: Horizon) -> Verdict:
    """Rules 3 and 4. Two entries with one address and port (of two clusters that share a gateway) are one candidate."""
    candidates = tuple(gateway for gateway in gateways if gateway.cluster == traits.cluster) or gateways
    because = tuple(dict.fromkeys(gateway.source for gateway in candidates))
    usable: dict[tuple[str, int], NetworkGateway] = {}
    for gateway in candidates:
        address = parse_address(gateway.address)
        if address is not None and address.family in horizon.families:
            usable.setdefault((gateway.address, gateway.port), gateway)
    if not usable:
        families = " or ".join(sorted(horizon.families))
        return Verdict(rule=Rule.GATEWAY_FAMILY, because=because, note=f"network {traits.network} has gateways, but none by {families}")
    if horizon.plaintext:
        return Verdict(rule=Rule.NOT_MTLS, because=because, note="a gateway needs SNI, and the client speaks no mTLS")
    if not traits.mtls:
        return Verdict(rule=Rule.NOT_MTLS, because=because, note="a gateway needs SNI, which only mTLS carries")
    return Verdict(
        rule=Rule.VIA_GATEWAY,
        gateways=tuple(usable.values()),
        because=tuple(dict.fromkeys(gateway.source for gateway in usable.values())),
        note=f"through the gateways of network {traits.network}",
    )
