"""Bytes spliced by hand are what the protobuf runtime would write, and an independent decoder reads from them what the endpoints are."""

from typing import Any

import pytest
from envoy.config.core.v3 import address_pb2, base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2 as components
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.wrappers_pb2 import UInt32Value
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from steersman.graph import Reader
from steersman.model.ids import ClusterID, IPFamily, Labels, Locality, NetworkID, ObjectKey, ServicePortKey, labels_of
from steersman.model.mesh import (
    Arrangement,
    Carried,
    DirectCells,
    Endpoint,
    GatewayShare,
    Health,
    Horizon,
    NetworkGateway,
    ObjectRef,
    SplitHorizon,
    Traits,
    Workload,
)
from steersman.model.objects import Kind
from steersman.registry.collections import CELLS
from steersman.resources.collections import ENCODED_CELLS, EncodedCellsKey
from steersman.resources.endpoints import assignment, encoded_cells, encoded_cells_again
from steersman.resources.lb_endpoints import encoded, field, lengths_of, varint
from steersman.views.collections import SeenKey
from tests.support.examples import examples
from tests.support.pgv import problems

EAST = ClusterID("east")
PORT = ServicePortKey("default", "reviews", 9080)
KEY = SeenKey(PORT, Horizon(NetworkID("network-east"), frozenset(IPFamily)))
NAME = "outbound|9080||reviews.default.svc.cluster.local"


class Mesh:
    """Stands in for the graph: a view and its cells, and cells encoded as the wiring would have them."""

    def __init__(self, seen: SplitHorizon, cells: dict[Traits, tuple[Endpoint, ...]], *, headless: bool = False) -> None:
        self.seen = structs.replace(seen, arrangement=structs.replace(seen.arrangement, headless=headless))
        self.cells = cells
        self.encoded: dict[EncodedCellsKey, bytes] = {}

    def __call__(self, collection: Any, key: Any, /) -> Any:
        if collection is CELLS:
            return self.cells[key.traits]
        assert collection is ENCODED_CELLS
        if key not in self.encoded:
            self.encoded[key] = encoded_cells(self, key)
        return self.encoded[key]

    def assignment(self, name: str = NAME) -> tuple[bytes, ...]:
        read: Reader = self
        return assignment(read, name, KEY, self.seen).parts


def endpoint(address: str, traits: Traits, *, labels: Labels = (), pod: str = "reviews-1", weight: int = 1, port: int = 9080) -> Endpoint:
    workload = Workload(
        pod=ObjectKey(traits.cluster, "default", pod) if pod else None,
        cluster=traits.cluster,
        network=traits.network,
        network_by=None,
        locality=traits.locality,
        mtls=traits.mtls,
        labels=labels,
    )
    source = ObjectRef(Kind.ENDPOINT_SLICE, ObjectKey(traits.cluster, "default", "reviews-abc"))
    return Endpoint(address=address, port=port, traits=traits, weight=weight, workload=workload, source=source)


HOME = Locality("r", "z")


def traits_of(locality: Locality = HOME, *, mtls: bool = True, network: str = "network-east") -> Traits:
    return Traits(locality, NetworkID(network), EAST, mtls, IPFamily.IPV4)


# -- what is expected, built by the runtime and said in plain values -----------------------------------------------------------


def message_of(name: str, seen: SplitHorizon, cells: dict[Traits, tuple[Endpoint, ...]], *, headless: bool) -> ClusterLoadAssignment:
    message = ClusterLoadAssignment(cluster_name=name)
    for group in seen.groups:
        if not group.direct and not group.gateways:
            continue
        region, zone, subzone = group.locality
        target = message.endpoints.add(
            locality=base_pb2.Locality(region=region, zone=zone, sub_zone=subzone),
            load_balancing_weight=UInt32Value(value=group.weight),
            priority=group.priority,
        )
        direct = [one for traits in group.direct for one in cells[traits] if (traits, one.address, one.port) not in seen.without]
        for one in sorted(direct, key=lambda one: (one.address, one.port)):
            target.lb_endpoints.append(lb_endpoint_of(one, seen.scale, headless=headless))
        for share in group.gateways:
            target.lb_endpoints.append(gateway_of(share))
    return message


def lb_endpoint_of(one: Endpoint, scale: int, *, headless: bool) -> Any:
    made = _lb_endpoint(one.address, one.port, one.weight * scale)
    made.health_status = health_check_pb2.HEALTHY if one.health is Health.HEALTHY else health_check_pb2.DRAINING
    if headless:
        made.metadata.filter_metadata["envoy.lb"].update({"address": one.address})
    if one.traits.mtls:
        made.metadata.filter_metadata["envoy.transport_socket_match"].update({"tlsMode": "istio"})
    made.metadata.filter_metadata["istio"].update({"workload": workload_of(one.workload)})
    return made


def gateway_of(share: GatewayShare) -> Any:
    gateway = share.gateway
    made = _lb_endpoint(gateway.address, gateway.port, share.weight)
    made.health_status = health_check_pb2.HEALTHY
    made.metadata.filter_metadata["envoy.transport_socket_match"].update({"tlsMode": "istio"})
    said = {"workload": f";;;;{gateway.cluster}", "network": gateway.network, "cluster": gateway.cluster}
    made.metadata.filter_metadata["istio"].update(said)
    return made


def _lb_endpoint(address: str, port: int, weight: int) -> Any:
    socket = address_pb2.SocketAddress(address=address, port_value=port)
    return components.LbEndpoint(
        endpoint=components.Endpoint(address=address_pb2.Address(socket_address=socket)), load_balancing_weight=UInt32Value(value=weight)
    )


def workload_of(workload: Workload) -> str:
    if workload.pod is None:
        return f";;;;{workload.cluster}"
    said = dict(workload.labels)
    name = workload.pod.name
    template = said.get("pod-template-hash")
    if template and f"-{template}-" in name:
        name = name[: name.rindex(f"-{template}-")] or name
    return f"{name};{workload.pod.namespace};{said.get('app') or name};{said.get('version') or 'latest'};{workload.cluster}"


def plain(message: Any) -> Any:
    """What either decoder read, without its types."""
    return [
        (
            (group.locality.region, group.locality.zone, group.locality.sub_zone),
            getattr(group.load_balancing_weight, "value", group.load_balancing_weight),
            group.priority,
            [
                (
                    one.endpoint.address.socket_address.address,
                    one.endpoint.address.socket_address.port_value,
                    int(one.health_status),
                    getattr(one.load_balancing_weight, "value", one.load_balancing_weight),
                    {
                        kind: {key: value.string_value for key, value in struct.fields.items()}
                        for kind, struct in one.metadata.filter_metadata.items()
                    },
                )
                for one in group.lb_endpoints
            ],
        )
        for group in message.endpoints
    ]


# -- strategies -----------------------------------------------------------------------------------------------------------------

NAMES = st.text("abz09-.é~;" + "𝔰", min_size=1, max_size=60)
LONG = st.text("ab", min_size=100, max_size=300)
ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
PORTS = st.one_of(st.integers(1, 65535), st.sampled_from([127, 128, 16383, 16384]))
WEIGHTS = st.one_of(st.integers(1, 3), st.integers(1, 2**20))
LOCALITIES = st.builds(Locality, *([st.one_of(st.just(""), NAMES)] * 3))
LABELS = st.dictionaries(
    st.sampled_from(["app", "version", "pod-template-hash", "tier"]), st.one_of(st.sampled_from(["", "v1", "5b6f"]), LONG)
).map(labels_of)
PODS = st.one_of(st.just(""), st.sampled_from(["reviews-v1-5b6f-x2x4", "-5b6f-a", "reviews-0"]), NAMES)
TRAITS = st.builds(
    Traits,
    LOCALITIES,
    NAMES.map(NetworkID),
    NAMES.map(ClusterID),
    st.booleans(),
    st.just(IPFamily.IPV4),
)


@st.composite
def cells_of(draw: st.DrawFn, traits: Traits) -> tuple[Endpoint, ...]:
    places = sorted(draw(st.sets(st.tuples(ADDRESSES, PORTS), min_size=1, max_size=6)))
    made = []
    for address, port in places:
        one = endpoint(address, traits, labels=draw(LABELS), pod=draw(PODS), weight=draw(WEIGHTS), port=port)
        made.append(Endpoint(**{**{f: getattr(one, f) for f in one.__struct_fields__}, "health": draw(st.sampled_from(Health))}))
    return tuple(made)


@st.composite
def views(draw: st.DrawFn) -> tuple[SplitHorizon, dict[Traits, tuple[Endpoint, ...]]]:
    cells = {traits: draw(cells_of(traits)) for traits in draw(st.lists(TRAITS, unique=True, max_size=3))}
    direct = []
    fronts: list[tuple[Carried, ...]] = []
    shares: list[int] = []
    for level in enumerate(draw(st.lists(LOCALITIES, unique=True, max_size=3))):
        standing = tuple(draw(st.lists(st.sampled_from(sorted(cells)), unique=True))) if cells else ()
        if standing:
            direct.append(DirectCells(level, standing, tuple(sorted(cells).index(traits) for traits in standing)))
        for address, port, weight in draw(st.lists(st.tuples(ADDRESSES, PORTS, WEIGHTS), max_size=3)):
            of = ClusterID(draw(st.one_of(st.just(""), NAMES)))
            gateway = NetworkGateway(address, port, NetworkID(draw(NAMES)), of, ObjectRef(Kind.SERVICE, "x"))
            fronts.append((Carried(level, gateway, ()),))
            shares.append(weight)
    everyone = [(traits, one.address, one.port) for traits, cell in cells.items() for one in cell]
    without = tuple(sorted(draw(st.lists(st.sampled_from(everyone), max_size=2, unique=True)))) if everyone else ()
    seen = SplitHorizon(
        arrangement=Arrangement(exact=1, direct=tuple(direct), fronts=tuple(fronts), unseen=()),
        scale=draw(st.integers(1, 60)),
        weights=tuple(draw(WEIGHTS) for _ in cells),
        homes=(0,) * len(fronts),
        shares=tuple(shares),
        without=without,
    )
    return seen, cells


def direct_only(*cells: Traits, without: tuple[tuple[Traits, str, int], ...] = ()) -> SplitHorizon:
    """Cells of one locality, each of weight 1; nothing behind gateways."""
    direct = (DirectCells((0, cells[0].locality), cells, tuple(range(len(cells)))),) if cells else ()
    arrangement = Arrangement(exact=1, direct=direct, fronts=(), unseen=())
    return SplitHorizon(arrangement=arrangement, scale=1, weights=(1,) * len(cells), homes=(), shares=(), without=without)


# -- tests ----------------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(60))
@given(views(), st.one_of(NAMES, LONG), st.booleans())
def test_spliced_bytes_are_the_runtimes_own(
    made: tuple[SplitHorizon, dict[Traits, tuple[Endpoint, ...]]], name: str, headless: bool
) -> None:
    seen, cells = made
    spliced = b"".join(Mesh(seen, cells, headless=headless).assignment(name))
    message = message_of(name, seen, cells, headless=headless)
    assert spliced == message.SerializeToString(deterministic=True)
    assert problems(message) == []


@pytest.mark.filterwarnings("ignore:Using .@model_validator")
@settings(deadline=None, max_examples=examples(60))
@given(views(), st.booleans())
def test_a_decoder_that_shares_nothing_with_the_runtime_reads_the_same(
    made: tuple[SplitHorizon, dict[Traits, tuple[Endpoint, ...]]], headless: bool
) -> None:
    from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment as Other  # takes a second to import

    seen, cells = made
    read = Other.parse(b"".join(Mesh(seen, cells, headless=headless).assignment()))
    assert read.cluster_name == NAME
    assert plain(read) == plain(message_of(NAME, seen, cells, headless=headless))


@given(st.integers(0, 2**64 - 1))
def test_varints_round_trip(value: int) -> None:
    read = 0
    for place, byte in enumerate(varint(value)):
        read |= (byte & 0x7F) << (7 * place)
        assert bool(byte & 0x80) == (place < len(varint(value)) - 1)
    assert read == value


def test_a_cell_is_encoded_once_and_its_bytes_stand_in_every_assignment() -> None:
    here = traits_of()
    cells = {here: tuple(endpoint(f"10.0.0.{host}", here) for host in range(1, 9))}
    mesh = Mesh(direct_only(here), cells)
    first, second = mesh.assignment(), mesh.assignment("outbound_.9080_._.reviews.default.svc.cluster.local")
    shared = mesh.encoded[EncodedCellsKey(PORT, (here,), 1, False)]
    assert len(mesh.encoded) == 1
    assert any(part is shared for part in first)
    assert any(part is shared for part in second)


def test_of_what_was_encoded_before_only_what_differs_is_encoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(endpoints: tuple[Endpoint, ...], scale: int, *, headless: bool) -> bytes:
        written[-1] += [one.address for one in endpoints]
        return encoded(endpoints, scale, headless=headless)

    written: list[list[str]] = []
    monkeypatch.setattr("steersman.resources.endpoints.encoded", watched)
    here = traits_of()
    pods = tuple(endpoint(f"10.0.0.{host}", here) for host in range(1, 9))
    mesh, key, before = Mesh(direct_only(here), {}), EncodedCellsKey(PORT, (here,), 1, False), None
    for cell in (pods, pods[:3] + pods[4:], pods, (*pods[:3], structs.replace(pods[3], weight=2), *pods[4:]), pods[1:], pods[1:-1]):
        mesh.cells = {here: cell}
        written.append([])
        made, before = encoded_cells_again(mesh, key, before)
        assert made == encoded(cell, 1)
    assert written == [[one.address for one in pods], [], ["10.0.0.4"], ["10.0.0.4"], ["10.0.0.4"], []]


@st.composite
def encoded_over_time(draw: st.DrawFn) -> list[dict[Traits, tuple[Endpoint, ...]]]:
    """Two cells of a locality, and what becomes of them: endpoints go, come back, and are others at the same place."""
    secure = draw(TRAITS)
    cells = (secure, structs.replace(secure, mtls=not secure.mtls))
    everyone = {traits: draw(cells_of(traits)) for traits in cells}
    others = {traits: tuple(structs.replace(one, weight=one.weight + 1) for one in everyone[traits]) for traits in cells}
    return [
        {
            traits: tuple(
                [
                    (one, other)[what == "other"]
                    for one, other in zip(everyone[traits], others[traits], strict=True)
                    if (what := draw(st.sampled_from(["there", "there", "there", "other", "gone"]))) != "gone"
                ]
            )
            for traits in cells
        }
        for _ in range(draw(st.integers(1, 4)))
    ]


@settings(deadline=None, max_examples=examples(60))
@given(encoded_over_time(), st.integers(1, 60), st.booleans())
def test_what_goes_on_from_what_was_encoded_before_gives_the_bytes_that_are_made_anew(
    steps: list[dict[Traits, tuple[Endpoint, ...]]], scale: int, headless: bool
) -> None:
    for cells in (tuple(steps[0]), tuple(steps[0])[:1]):
        before, key = None, EncodedCellsKey(PORT, cells, scale, headless)
        for step in steps:
            mesh = Mesh(direct_only(*cells), step)
            made, before = encoded_cells_again(mesh, key, before)
            assert made == encoded_cells(mesh, key)


@given(st.lists(st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 16383, 16384, 2**21 - 1, 2**21]))))
def test_the_fields_of_a_list_are_measured_by_their_lengths(sizes: list[int]) -> None:
    fields = [field(2, bytes(size)) for size in sizes]
    assert list(lengths_of(b"".join(fields))) == [len(one) for one in fields]


def test_what_shares_an_address_with_an_endpoint_of_a_nearer_network_is_left_out_here_alone() -> None:
    here, there = traits_of(), traits_of(network="network-west")
    cells = {here: (endpoint("10.0.0.1", here),), there: (endpoint("10.0.0.1", there), endpoint("10.0.0.2", there))}
    seen = direct_only(here, there, without=((there, "10.0.0.1", 9080),))
    message = ClusterLoadAssignment.FromString(b"".join(Mesh(seen, cells).assignment()))
    addresses = [one.endpoint.address.socket_address.address for one in message.endpoints[0].lb_endpoints]
    assert addresses == ["10.0.0.1", "10.0.0.2"]


def test_direct_endpoints_of_a_locality_are_sorted_by_address_and_port_whatever_tells_them_apart() -> None:
    secure, plain = traits_of(), traits_of(mtls=False)
    cells: dict[Traits, tuple[Endpoint, ...]] = {
        secure: (endpoint("10.0.0.1", secure, port=9081), endpoint("10.0.0.3", secure)),
        plain: (endpoint("10.0.0.1", plain), endpoint("10.0.0.2", plain)),
    }
    message = ClusterLoadAssignment.FromString(b"".join(Mesh(direct_only(plain, secure), cells).assignment()))
    places = [one.endpoint.address.socket_address for one in message.endpoints[0].lb_endpoints]
    assert [(place.address, place.port_value) for place in places] == [
        ("10.0.0.1", 9080),
        ("10.0.0.1", 9081),
        ("10.0.0.2", 9080),
        ("10.0.0.3", 9080),
    ]


def test_a_service_without_endpoints_has_an_empty_assignment_of_its_name() -> None:
    parts = Mesh(direct_only(), {}).assignment()
    assert ClusterLoadAssignment.FromString(b"".join(parts)) == ClusterLoadAssignment(cluster_name=NAME)


def test_replicas_of_a_deployment_bear_its_name_as_their_workload() -> None:
    here = traits_of()
    labels = labels_of({"app": "reviews", "version": "v2", "pod-template-hash": "5b6f"})
    pods = tuple(endpoint(f"10.0.0.{host}", here, labels=labels, pod=f"reviews-v2-5b6f-{host:05}") for host in range(1, 4))
    group = components.LocalityLbEndpoints.FromString(encoded(pods, 1))
    names = {one.metadata.filter_metadata["istio"]["workload"] for one in group.lb_endpoints}
    assert names == {"reviews-v2;default;reviews;v2;east"}
