"""In or out: each rule of split horizon on its own, and their order."""

from collections.abc import Iterable

import msgspec
import pytest

from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.config import MeshConfig, MissingGateway, NetworkConfig
from steersman.model.facts import Upsert
from steersman.model.ids import UNKNOWN_NETWORK, ClusterID, IPFamily, Locality, NetworkID
from steersman.model.mesh import Horizon, ObjectRef, Rule, Traits, Twin, Verdict
from steersman.model.objects import Kind, Row, ServiceType
from steersman.views.collections import VERDICTS, VerdictKey
from tests.support.mesh import BOTH, V4, V6, Mesh, cluster, gateway_service, outage, ref

EAST = NetworkID("east-net")
WEST = NetworkID("west-net")
WEST_GATEWAY = gateway_service("west", "west-net", "192.0.2.1")
GATEWAY_REF = ref(Kind.SERVICE, "west", "eastwest", "istio-system")
MESH_REF = ObjectRef(Kind.MESH, "")
DIRECT = MeshConfig(missing_gateway=MissingGateway.DIRECT)


def traits(
    network: NetworkID = WEST, cluster: str = "west", mtls: bool = True, family: IPFamily = V4, twin: Twin = Twin.ALONE, node: str = ""
) -> Traits:
    return Traits(Locality(), network, ClusterID(cluster), mtls, family, twin, node)


def horizon(network: NetworkID = EAST, families: Iterable[IPFamily] = BOTH, view: tuple[NetworkID, ...] | None = None) -> Horizon:
    return Horizon(network, frozenset(families), view)


def judged(of: Traits, by: Horizon, *rows: Row) -> Verdict:
    return Mesh(*rows).ask(VERDICTS, VerdictKey(of, by))


def gateways(verdict: Verdict) -> list[tuple[str, str]]:
    return [(gateway.address, gateway.cluster) for gateway in verdict.gateways]


# -- rule 2 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtls", [True, False])
@pytest.mark.parametrize("family", [V4, V6])
def test_on_the_same_network_every_endpoint_is_direct(mtls: bool, family: IPFamily) -> None:
    assert judged(traits(EAST, mtls=mtls, family=family), horizon(families=[V4]), WEST_GATEWAY).rule is Rule.DIRECT


def test_an_endpoint_of_unknown_network_is_direct() -> None:
    assert judged(traits(UNKNOWN_NETWORK), horizon(), WEST_GATEWAY).rule is Rule.DIRECT


def test_a_proxy_of_unknown_network_reaches_what_has_no_gateway_directly_and_the_rest_through_gateways() -> None:
    nowhere = horizon(UNKNOWN_NETWORK)
    assert judged(traits(), nowhere).rule is Rule.DIRECT
    assert judged(traits(UNKNOWN_NETWORK), nowhere).rule is Rule.DIRECT
    assert judged(traits(), nowhere, WEST_GATEWAY).rule is Rule.VIA_GATEWAY
    assert judged(traits(mtls=False), nowhere, WEST_GATEWAY).rule is Rule.NOT_MTLS


# -- rule 3 -------------------------------------------------------------------------------------------------------------------


def test_another_network_is_reached_through_its_gateways_which_are_named() -> None:
    found = judged(traits(), horizon(), WEST_GATEWAY, gateway_service("east", "east-net", "192.0.2.9"))
    assert (found.rule, gateways(found), found.because) == (Rule.VIA_GATEWAY, [("192.0.2.1", "west")], (GATEWAY_REF,))


def test_the_endpoints_own_clusters_gateways_come_first_else_all_of_the_network() -> None:
    rows = (gateway_service("west", "west-net", "192.0.2.1", "192.0.2.2"), gateway_service("south", "west-net", "192.0.2.3"))
    assert gateways(judged(traits(cluster="west"), horizon(), *rows)) == [("192.0.2.1", "west"), ("192.0.2.2", "west")]
    assert gateways(judged(traits(cluster="south"), horizon(), *rows)) == [("192.0.2.3", "south")]
    assert len(judged(traits(cluster="north"), horizon(), *rows).gateways) == 3


def test_one_address_of_two_clusters_is_one_candidate() -> None:
    rows = (gateway_service("west", "west-net", "192.0.2.1"), gateway_service("south", "west-net", "192.0.2.1"))
    assert gateways(judged(traits(cluster="north"), horizon(), *rows)) == [("192.0.2.1", "south")]


def test_gateways_of_a_family_that_the_proxy_cannot_use_are_left_out() -> None:
    both = gateway_service("west", "west-net", "192.0.2.1", "2001:db8::1")
    assert gateways(judged(traits(), horizon(families=[V4]), both)) == [("192.0.2.1", "west")]
    assert gateways(judged(traits(), horizon(families=[V6]), both)) == [("2001:db8::1", "west")]
    assert len(judged(traits(), horizon(), both).gateways) == 2


@pytest.mark.parametrize("config", [MeshConfig(), DIRECT], ids=["withhold", "direct"])
def test_with_gateways_but_none_of_its_family_the_endpoint_is_out_whatever_a_missing_gateway_means(config: MeshConfig) -> None:
    found = judged(traits(), horizon(families=[V4]), gateway_service("west", "west-net", "2001:db8::1"), config)
    assert (found.rule, found.because) == (Rule.GATEWAY_FAMILY, (GATEWAY_REF,))


def test_the_own_clusters_gateways_are_chosen_before_families_are_looked_at() -> None:
    rows = (gateway_service("west", "west-net", "2001:db8::1"), gateway_service("south", "west-net", "192.0.2.3"))
    assert judged(traits(cluster="west"), horizon(families=[V4]), *rows).rule is Rule.GATEWAY_FAMILY


# -- rules 5, then 4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtls", [True, False])
def test_a_network_without_gateway_is_withheld_or_direct_by_the_meshs_setting_mtls_or_not(mtls: bool) -> None:
    assert judged(traits(mtls=mtls), horizon()).rule is Rule.NO_GATEWAY
    assert judged(traits(mtls=mtls), horizon(), DIRECT).rule is Rule.DIRECT_NO_GATEWAY


@pytest.mark.parametrize(
    ("mesh", "own", "rule"),
    [
        (MissingGateway.WITHHOLD, MissingGateway.DIRECT, Rule.DIRECT_NO_GATEWAY),
        (MissingGateway.DIRECT, MissingGateway.WITHHOLD, Rule.NO_GATEWAY),
        (MissingGateway.DIRECT, None, Rule.DIRECT_NO_GATEWAY),
    ],
)
def test_a_networks_own_setting_wins(mesh: MissingGateway, own: MissingGateway | None, rule: Rule) -> None:
    config = MeshConfig(missing_gateway=mesh, networks=(NetworkConfig(name=WEST, missing_gateway=own),))
    assert judged(traits(), horizon(), config).rule is rule


def test_what_might_have_been_a_gateway_is_named() -> None:
    found = judged(traits(), horizon(), gateway_service("west", "west-net"))
    assert (found.rule, found.because) == (Rule.NO_GATEWAY, (GATEWAY_REF, MESH_REF))


def test_behind_a_gateway_only_mtls_endpoints_are_reached() -> None:
    found = judged(traits(mtls=False), horizon(), WEST_GATEWAY)
    assert (found.rule, found.because) == (Rule.NOT_MTLS, (GATEWAY_REF,))


def test_a_client_that_speaks_no_mtls_reaches_nothing_behind_a_gateway() -> None:
    plain = msgspec.structs.replace(horizon(), plaintext=True)
    assert judged(traits(), plain, WEST_GATEWAY).rule is Rule.NOT_MTLS
    assert judged(traits(EAST), plain, WEST_GATEWAY).rule is Rule.DIRECT
    assert judged(traits(), plain, DIRECT).rule is Rule.DIRECT_NO_GATEWAY


# -- the requested view -------------------------------------------------------------------------------------------------------


def test_only_requested_networks_and_the_unknown_one_are_seen() -> None:
    view = horizon(view=(EAST,))
    assert judged(traits(), view, WEST_GATEWAY).rule is Rule.NETWORK_VIEW
    assert judged(traits(EAST), view).rule is Rule.DIRECT
    assert judged(traits(UNKNOWN_NETWORK), view).rule is Rule.DIRECT


def test_a_view_that_leaves_out_the_proxys_own_network_means_it() -> None:
    assert judged(traits(EAST), horizon(view=(WEST,)), WEST_GATEWAY).rule is Rule.NETWORK_VIEW
    assert judged(traits(), horizon(view=(WEST,)), WEST_GATEWAY).rule is Rule.VIA_GATEWAY


# -- rule 8 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [MeshConfig(), DIRECT], ids=["withhold", "direct"])
@pytest.mark.parametrize("gateway", [(), (WEST_GATEWAY,)], ids=["no gateway", "gateway"])
def test_a_networks_gateway_sees_its_own_network_alone(config: MeshConfig, gateway: tuple[Row, ...]) -> None:
    own = msgspec.structs.replace(horizon(), own_network_only=True)
    assert judged(traits(), own, config, *gateway).rule is Rule.OTHER_NETWORK_AT_GATEWAY
    assert judged(traits(EAST, mtls=False), own, config, *gateway).rule is Rule.DIRECT
    assert judged(traits(UNKNOWN_NETWORK), own, config, *gateway).rule is Rule.DIRECT


def test_a_gateway_of_unknown_network_sees_what_is_direct_to_it() -> None:
    own = msgspec.structs.replace(horizon(UNKNOWN_NETWORK), own_network_only=True)
    assert judged(traits(), own).rule is Rule.DIRECT
    assert judged(traits(), own, WEST_GATEWAY).rule is Rule.OTHER_NETWORK_AT_GATEWAY


def test_a_passthrough_cluster_holds_mtls_endpoints_only() -> None:
    passthrough = msgspec.structs.replace(horizon(), own_network_only=True, mtls_only=True)
    assert judged(traits(EAST), passthrough).rule is Rule.DIRECT
    assert judged(traits(EAST, mtls=False), passthrough).rule is Rule.PASSTHROUGH_NOT_MTLS


# -- what is local, and two families ------------------------------------------------------------------------------------------


def test_of_a_cluster_local_service_only_the_proxys_own_cluster_counts() -> None:
    mine = msgspec.structs.replace(horizon(), cluster=ClusterID("east"))
    assert judged(traits(EAST, cluster="west"), mine).rule is Rule.CLUSTER_LOCAL
    assert judged(traits(EAST, cluster="east"), mine).rule is Rule.DIRECT


def test_a_node_local_endpoint_is_its_own_nodes_alone() -> None:
    endpoint = traits(EAST, node="east/n1")
    assert judged(endpoint, msgspec.structs.replace(horizon(), node="east/n1")).rule is Rule.DIRECT
    assert judged(endpoint, msgspec.structs.replace(horizon(), node="west/n1")).rule is Rule.NODE_LOCAL
    assert judged(endpoint, horizon()).rule is Rule.NODE_LOCAL
    assert judged(traits(EAST), msgspec.structs.replace(horizon(), node="east/n1")).rule is Rule.DIRECT


@pytest.mark.parametrize(
    ("families", "first", "second"),
    [([V4, V6], True, False), ([V6], True, False), ([V4], False, True)],
    ids=["both", "the first only", "the other only"],
)
@pytest.mark.parametrize("network", [EAST, WEST], ids=["direct", "through a gateway"])
def test_of_a_pods_two_addresses_exactly_one_stands(families: list[IPFamily], first: bool, second: bool, network: NetworkID) -> None:
    rows = (gateway_service("west", "west-net", "192.0.2.1", "2001:db8::1"),)
    pair = traits(network, family=V6, twin=Twin.FIRST), traits(network, family=V4, twin=Twin.SECOND)
    found = [judged(one, horizon(families=families), *rows).rule for one in pair]
    assert [rule.admits for rule in found] == [first, second]
    assert Rule.OTHER_FAMILY in found


# -- order --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "families", "mtls", "rule"),
    [
        ((), [V4], False, Rule.NO_GATEWAY),
        ((gateway_service("west", "west-net", "2001:db8::1"),), [V4], False, Rule.GATEWAY_FAMILY),
        ((WEST_GATEWAY,), [V4], False, Rule.NOT_MTLS),
        ((gateway_service("west", "west-net", type=ServiceType.CLUSTER_IP),), [V4], False, Rule.NO_GATEWAY),
    ],
    ids=["5 before 4", "3 before 4", "4 last", "a gateway without address is none"],
)
def test_the_first_rule_that_decides_is_the_answer(rows: tuple[Row, ...], families: list[IPFamily], mtls: bool, rule: Rule) -> None:
    assert judged(traits(mtls=mtls), horizon(families=families), *rows).rule is rule


# -- outages ------------------------------------------------------------------------------------------------------------------


def in_outage(policy: OutagePolicy, *others: Upsert, of: Traits | None = None) -> Verdict:
    """Of an endpoint of west, whose API is silent, beside east and south."""
    mesh = Mesh(cluster("east"), cluster("west"), cluster("south"), WEST_GATEWAY)
    mesh.tell(outage("west", policy), *others)
    return mesh.ask(VERDICTS, VerdictKey(of or traits(), horizon()))


def test_endpoints_of_a_cluster_in_an_outage_go_behind_others_or_are_left_out() -> None:
    state = ObjectRef(Kind.CLUSTER_STATE, ClusterID("west"))
    kept, demoted, dropped = (in_outage(policy) for policy in (OutagePolicy.KEEP, OutagePolicy.DEMOTE, OutagePolicy.DROP))
    assert (kept.rule, kept.demoted, state in kept.because) == (Rule.VIA_GATEWAY, False, False)
    assert (demoted.rule, demoted.demoted, state in demoted.because) == (Rule.VIA_GATEWAY, True, True)
    assert demoted.gateways == kept.gateways
    assert (dropped.rule, dropped.rule.admits, dropped.gateways, state in dropped.because) == (Rule.CLUSTER_OUTAGE, False, (), True)


def test_only_the_endpoints_of_that_cluster_are_touched_and_what_was_out_keeps_its_reason() -> None:
    assert in_outage(OutagePolicy.DROP, of=traits(EAST, cluster="east")).rule is Rule.DIRECT
    assert in_outage(OutagePolicy.DROP, of=traits(mtls=False)).rule is Rule.NOT_MTLS


def test_while_no_other_cluster_is_well_all_stay() -> None:
    south = outage("south", OutagePolicy.KEEP, ClusterState.UNAUTHORISED)
    assert in_outage(OutagePolicy.DROP, south).rule is Rule.CLUSTER_OUTAGE
    assert in_outage(OutagePolicy.DROP, south, outage("east", OutagePolicy.DROP, ClusterState.STALE)).rule is Rule.VIA_GATEWAY
    assert in_outage(OutagePolicy.DROP, south, outage("east", OutagePolicy.KEEP, ClusterState.SYNCING)).rule is Rule.CLUSTER_OUTAGE
