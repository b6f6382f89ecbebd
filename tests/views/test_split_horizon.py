"""What a proxy is sent for a service port: exact shares (rule 6), each address once (rule 7)."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.config import MeshConfig, MissingGateway, NetworkConfig
from steersman.model.ids import UNKNOWN_NETWORK, ClusterID, IPFamily, Locality, NetworkID, ObjectKey
from steersman.model.mesh import Arrangement, Carried, Folded, GatewayShare, Horizon, NetworkGateway, ObjectRef, Rule, SplitHorizon
from steersman.model.objects import Kind, Row
from steersman.registry.collections import CELL_INDEX, CELLS, CellKey
from steersman.views.collections import SEEN, VERDICTS, SeenKey, VerdictKey
from steersman.views.split_horizon import MOST, apportion, assigned
from tests.support.examples import examples
from tests.support.mesh import BOTH, V4, Mesh, cluster, gateway_service, pod, port_key, service, slice_of
from tests.support.seen import SeenEndpoint, seen_endpoints

EAST = NetworkID("net-east")
REVIEWS = port_key("reviews")


def workloads(where: str, *places: str, first: int = 1, mtls: bool = True) -> list[Row]:
    """A cluster's part of `reviews`: a pod for each place (a locality), at 10.NUMBER.0.1 and so on, with mTLS."""
    number = {"east": 1, "west": 2, "south": 3, "north": 4}[where]
    names = [f"p{at}" for at in range(first, first + len(places))]
    addresses = [f"10.{number}.0.{at}" for at in range(first, first + len(places))]
    labels: dict[str, str] | None = None if mtls else {}
    return [
        service(where, "reviews"),
        slice_of(where, "reviews", *(f"{address}={name}" for address, name in zip(addresses, names, strict=True)), name=f"s{first}"),
        *(pod(where, name, ip, locality_label=at, labels=labels) for name, ip, at in zip(names, addresses, places, strict=True)),
    ]


CLUSTERS = (cluster("east", EAST), cluster("west", "net-west"), cluster("south", "net-south"), cluster("north", "net-west"))


def key(network: str = EAST, families: frozenset[IPFamily] = BOTH) -> SeenKey:
    return SeenKey(REVIEWS, Horizon(NetworkID(network), families))


def seen(mesh: Mesh, of: SeenKey | None = None) -> list[SeenEndpoint]:
    of = of or key()
    mesh.ask(SEEN, of)
    return seen_endpoints(mesh.pipeline.graph.ask, of)


def decided(mesh: Mesh, of: SeenKey | None = None) -> SplitHorizon:
    return mesh.ask(SEEN, of or key())


# -- rule 6 -------------------------------------------------------------------------------------------------------------------


def test_without_gateways_weights_are_what_they_are() -> None:
    mesh = Mesh(*CLUSTERS, *workloads("east", "r/a", "r/b", "r/a"))
    assert seen(mesh) == [
        SeenEndpoint("r/a", "10.1.0.1:8080", 1),
        SeenEndpoint("r/a", "10.1.0.3:8080", 1),
        SeenEndpoint("r/b", "10.1.0.2:8080", 1),
    ]


def test_a_gateway_carries_the_weight_of_what_is_behind_it() -> None:
    mesh = Mesh(*CLUSTERS, *workloads("east", "r"), *workloads("west", "r", "r", "r"), gateway_service("west", "net-west", "192.0.2.1"))
    assert seen(mesh) == [SeenEndpoint("r", "10.1.0.1:8080", 1), SeenEndpoint("r", "192.0.2.1:15443", 3, "net-west")]


def test_weights_are_multiplied_by_the_least_common_multiple_of_the_counts_in_use() -> None:
    mesh = Mesh(
        *CLUSTERS,
        *workloads("east", "r"),
        *workloads("west", "r", "r", "r"),
        *workloads("south", "r"),
        gateway_service("west", "net-west", "192.0.2.1", "192.0.2.2"),
        gateway_service("south", "net-south", "192.0.2.5", "192.0.2.6", "192.0.2.7"),
        gateway_service("east", "net-east", *(f"192.0.2.{at}" for at in range(10, 17))),
    )
    assert decided(mesh).scale == 6
    assert [(one.at, one.weight) for one in seen(mesh)] == [
        ("10.1.0.1:8080", 6),
        ("192.0.2.1:15443", 9),
        ("192.0.2.2:15443", 9),
        ("192.0.2.5:15443", 2),
        ("192.0.2.6:15443", 2),
        ("192.0.2.7:15443", 2),
    ]


def test_the_count_is_that_of_the_gateways_that_the_proxy_can_use() -> None:
    gateways = gateway_service("west", "net-west", "192.0.2.1", "192.0.2.2", "2001:db8::1")
    mesh = Mesh(*CLUSTERS, *workloads("east", "r"), *workloads("west", "r"), gateways)
    assert [(one.at, one.weight) for one in seen(mesh, key(families=frozenset({V4})))] == [
        ("10.1.0.1:8080", 2),
        ("192.0.2.1:15443", 1),
        ("192.0.2.2:15443", 1),
    ]
    assert {one.weight for one in seen(mesh)} == {3, 1}


def test_clusters_of_one_network_each_have_their_own_gateways() -> None:
    mesh = Mesh(
        *CLUSTERS,
        *workloads("west", "r", "r"),
        *workloads("north", "r"),
        gateway_service("west", "net-west", "192.0.2.1", "192.0.2.2"),
        gateway_service("north", "net-west", "192.0.2.2"),
    )
    assert [(one.at, one.weight) for one in seen(mesh)] == [("192.0.2.1:15443", 2), ("192.0.2.2:15443", 4)]


# -- rule 7 -------------------------------------------------------------------------------------------------------------------

WEST_GATEWAY = gateway_service("west", "net-west", "192.0.2.1")


def test_a_gateway_that_fronts_several_localities_stands_where_its_largest_share_is() -> None:
    mesh = Mesh(*CLUSTERS, *workloads("east", "r/a"), *workloads("west", "r/b", "r/c", "r/c"), WEST_GATEWAY)
    assert seen(mesh) == [SeenEndpoint("r/a", "10.1.0.1:8080", 1), SeenEndpoint("r/c", "192.0.2.1:15443", 3, "net-west")]
    (folded,) = decided(mesh).folded
    assert (folded.locality, folded.into, folded.weight) == (Locality("r", "b"), Locality("r", "c"), 1)


def test_of_equal_shares_the_lowest_locality_is_the_gateways() -> None:
    mesh = Mesh(*CLUSTERS, *workloads("east", "r/b"), *workloads("west", "r/b", "r/a"), WEST_GATEWAY)
    assert seen(mesh) == [SeenEndpoint("r/a", "192.0.2.1:15443", 2, "net-west"), SeenEndpoint("r/b", "10.1.0.1:8080", 1)]


def test_a_locality_of_which_nothing_stays_is_no_group() -> None:
    mesh = Mesh(*CLUSTERS, *workloads("west", "r/b", "r/b", "r/a"), WEST_GATEWAY)
    assert [group.locality for group in decided(mesh).groups] == [Locality("r", "b")]


def test_gateways_stand_behind_direct_endpoints_by_address_and_port() -> None:
    many = gateway_service("west", "net-west", "192.0.2.3", "10.0.0.1", "192.0.2.1")
    mesh = Mesh(*CLUSTERS, *workloads("east", "r", "r"), *workloads("west", "r", "r", "r"), many)
    assert [one.at for one in seen(mesh)] == [
        "10.1.0.1:8080",
        "10.1.0.2:8080",
        "10.0.0.1:15443",
        "192.0.2.1:15443",
        "192.0.2.3:15443",
    ]


def front(address: str) -> NetworkGateway:
    return NetworkGateway(address, 15443, NetworkID("n"), ClusterID("c"), ObjectRef(Kind.MESH, ""))


def test_the_best_priority_comes_before_the_largest_share() -> None:
    a, b = Locality("a"), Locality("b")
    gateway = front("192.0.2.1")
    carried = (Carried((0, b), gateway, ((1, 1),)), Carried((1, a), gateway, ((0, 1),)))
    found = assigned(Arrangement(exact=1, direct=(), fronts=(carried,), unseen=()), (9, 1))
    assert [(group.priority, group.locality, group.gateways) for group in found.groups] == [(0, b, (GatewayShare(gateway, 10),))]
    assert found.folded == (Folded(gateway, a, b, 9),)


# -- each address once --------------------------------------------------------------------------------------------------------

OVERLAPPING: tuple[Row, ...] = (
    *CLUSTERS,
    *(service(where, "reviews") for where in ("east", "west")),
    slice_of("east", "reviews", "10.0.0.1", "10.0.0.2"),
    slice_of("west", "reviews", "10.0.0.1", "10.0.0.3"),
)


def test_overlapping_networks_that_are_both_direct_give_the_proxys_own_endpoint() -> None:
    direct = MeshConfig(missing_gateway=MissingGateway.DIRECT)
    mesh = Mesh(*OVERLAPPING, direct)
    for network, lost in (("net-east", "net-west"), ("net-west", "net-east"), ("", "net-west"), ("other", "net-west")):
        assert sorted(one.at for one in seen(mesh, key(network))) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]
        ((cell, address, _),) = decided(mesh, key(network)).without
        assert (cell.network, address) == (lost, "10.0.0.1")


def test_a_cell_of_which_every_address_is_taken_is_no_part_of_the_view() -> None:
    mesh = Mesh(*OVERLAPPING, slice_of("west", "reviews", "10.0.0.1"))
    assert [traits.network for group in decided(mesh, key("")).groups for traits in group.direct] == ["net-east"]
    assert seen(mesh, key("")) == [SeenEndpoint("", "10.0.0.1:8080", 1), SeenEndpoint("", "10.0.0.2:8080", 1)]


def test_overlapping_networks_with_a_gateway_between_are_no_conflict() -> None:
    behind = [row for row in OVERLAPPING if row.__class__.__name__ != "EndpointSlice"]
    pods = [pod(where, "p", "10.0.0.1") for where in ("east", "west")]
    mesh = Mesh(*behind, *pods, *(slice_of(where, "reviews", "10.0.0.1=p") for where in ("east", "west")), WEST_GATEWAY)
    assert [one.at for one in seen(mesh)] == ["10.0.0.1:8080", "192.0.2.1:15443"]
    assert decided(mesh).without == ()


def test_at_a_gateways_address_the_direct_endpoint_stays_and_another_gateway_carries_the_weight() -> None:
    at_gateway = (service("east", "reviews"), slice_of("east", "reviews", "192.0.2.1", ports=[("http", 15443)]))
    two = gateway_service("west", "net-west", "192.0.2.1", "192.0.2.2")
    mesh = Mesh(*CLUSTERS, *at_gateway, *workloads("west", "r", "r"), two)
    assert seen(mesh) == [SeenEndpoint("", "192.0.2.1:15443", 1), SeenEndpoint("r", "192.0.2.2:15443", 2, "net-west")]
    assert [gateway.address for gateway in decided(mesh).shadowed] == ["192.0.2.1"]
    mesh.put(WEST_GATEWAY)
    assert seen(mesh) == [SeenEndpoint("", "192.0.2.1:15443", 1)]


# -- weights that don't fit ---------------------------------------------------------------------------------------------------

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)


def test_weights_that_would_not_fit_are_scaled_down_and_nothing_is_lost() -> None:
    rows: list[Row] = [cluster("east", EAST), *workloads("east", "r")]
    for at, prime in enumerate(PRIMES):
        name, network = f"c{at}", f"n{at}"
        rows += [
            cluster(name, network),
            service(name, "reviews"),
            pod(name, "p", f"10.9.{at}.1", locality_label="r"),
            slice_of(name, "reviews", f"10.9.{at}.1=p"),
            gateway_service(name, network, *(f"192.{at}.2.{number}" for number in range(1, prime + 1))),
        ]
    mesh = Mesh(*rows)
    found = decided(mesh)
    assert found.rounded
    weights = Counter[str]()
    for one in seen(mesh):
        weights[one.gateway] += one.weight
    total = sum(weights.values())
    assert MOST - sum(PRIMES) - 11 <= total <= MOST
    assert max(weights.values()) - min(weights.values()) <= max(PRIMES)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(1, 60), st.integers(2, 5040))
@settings(deadline=None)
def test_rounding_keeps_the_sum_and_is_never_off_by_one_or_more(shares: list[int], scale: int, exact: int) -> None:
    assert apportion([unit * exact for unit in shares], scale, exact) == [unit * scale for unit in shares]
    rounded = apportion(shares, scale, exact)
    true = [Fraction(unit * scale, exact) for unit in shares]
    assert all((part >= 1 and abs(part - wanted) < 1) or part == 1 > wanted for part, wanted in zip(rounded, true, strict=True))
    if all(wanted >= 1 for wanted in true):
        assert sum(rounded) in (int(sum(true)), -int(-sum(true) // 1))


# -- any mesh -----------------------------------------------------------------------------------------------------------------

PLACES = ["r/a", "r/b", "s/a"]
ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "10.1.0.1"]
PARTS = st.tuples(
    st.sampled_from(["east", "west", "south", "north"]), st.lists(st.sampled_from(PLACES), min_size=1, max_size=4), st.booleans()
)
GATEWAYS = st.dictionaries(
    st.sampled_from(["east", "west", "south", "north"]), st.lists(st.sampled_from(ADDRESSES), unique=True, max_size=4), max_size=4
)
NETWORKS = {"east": EAST, "west": "net-west", "south": "net-south", "north": "net-west"}


@given(
    st.lists(PARTS, max_size=4),
    GATEWAYS,
    st.sampled_from([EAST, "net-west", "net-south", "", "net-else"]),
    st.sampled_from([BOTH, frozenset({V4})]),
    st.sampled_from(MissingGateway),
)
@settings(deadline=None, max_examples=examples(150))
def test_in_any_mesh_weights_are_exact_and_addresses_stand_once_and_nothing_is_lost(
    parts: list[tuple[str, list[str], bool]],
    gateways: dict[str, list[str]],
    network: str,
    families: frozenset[IPFamily],
    missing: MissingGateway,
) -> None:
    rows: list[Row] = [*CLUSTERS, MeshConfig(missing_gateway=missing, networks=(NetworkConfig(name=NetworkID("net-else")),))]
    for at, (where, places, mtls) in enumerate(parts):
        rows += workloads(where, *places, first=1 + at * 10, mtls=mtls)
    rows += [gateway_service(where, NETWORKS[where], *addresses) for where, addresses in gateways.items()]
    mesh = Mesh(*rows)
    of = key(network, families)
    listed, found = seen(mesh, of), decided(mesh, of)
    assert set(Counter(one.at for one in listed).values()) <= {1}

    graph = mesh.pipeline.graph
    admitted = {
        endpoint: verdict
        for traits, _ in graph.ask(CELL_INDEX, REVIEWS).cells
        for verdict in [graph.ask(VERDICTS, VerdictKey(traits, of.horizon))]
        for endpoint in graph.ask(CELLS, CellKey(REVIEWS, traits))
        if verdict.rule.admits
    }
    due: dict[str, Fraction] = Counter()  # type: ignore[assignment]
    for endpoint, verdict in admitted.items():
        ways = [f"{gateway.address}:{gateway.port}" for gateway in verdict.gateways] or [f"{endpoint.address}:{endpoint.port}"]
        for way in ways:
            due[way] += Fraction(endpoint.weight, len(ways))
    assert not found.rounded
    assert {one.at: Fraction(one.weight, found.scale) for one in listed} == due
    assert sum(group.weight for group in found.groups) == found.scale * sum(endpoint.weight for endpoint in admitted)
    assert len({verdict.rule for verdict in admitted.values()} - {Rule.DIRECT, Rule.VIA_GATEWAY, Rule.DIRECT_NO_GATEWAY}) == 0
    assert UNKNOWN_NETWORK not in {one.gateway for one in listed if one.at.endswith(":15443")}
    assert all(isinstance(gateway.source.key, ObjectKey) for group in found.groups for gateway, _ in group.gateways)
