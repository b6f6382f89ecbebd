"""Who a client is, by what its Node says and by what it leaves open."""

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict

from steersman.ads.node import proxy_of
from steersman.model.ids import ClusterID, Locality, NetworkID
from steersman.model.proxy import Interception, Proxy, ProxyType

ID = "sidecar~10.10.0.5~reviews-v1.shop~shop.svc.cluster.local"


def parsed(
    node_id: str = ID, peer: str = "ipv4:192.0.2.1:4711", locality: dict[str, str] | None = None, *, delta: bool = True, **metadata: Any
) -> Proxy:
    node = ParseDict({"id": node_id, "metadata": metadata, "locality": locality or {}}, base_pb2.Node())
    return proxy_of(node, peer, delta=delta)


def test_a_node_that_says_everything() -> None:
    proxy = parsed(
        locality={"region": "here", "zone": "here-1", "sub_zone": "rack-7"},
        CLUSTER_ID="east",
        NETWORK="network-east",
        NAMESPACE="bookinfo",
        LABELS={"version": "v1", "app": "reviews"},
        SERVICE_ACCOUNT="reviewer",
        WORKLOAD_NAME="reviews-v1",
        INSTANCE_IPS="10.10.0.5,2001:DB8::0005",
        REQUESTED_NETWORK_VIEW=["network-west", "network-east"],
        INTERCEPTION_MODE="TPROXY",
        GENERATOR="grpc",
        OUTBOUND_ADDRESS="127.0.0.2",
        APP_ADDRESS="127.0.0.3",
        UNPRIVILEGED_PORTS="true",
    )
    assert proxy == Proxy(
        id=f"east/{ID}",
        type=ProxyType.SIDECAR,
        ip="10.10.0.5",
        name="reviews-v1",
        namespace="bookinfo",
        cluster=ClusterID("east"),
        network=NetworkID("network-east"),
        labels=(("app", "reviews"), ("version", "v1")),
        service_account="reviewer",
        workload="reviews-v1",
        instance_ips=("10.10.0.5", "2001:db8::5"),
        network_view=(NetworkID("network-east"), NetworkID("network-west")),
        interception=Interception.TPROXY,
        generator="grpc",
        locality=Locality("here", "here-1", "rack-7"),
        outbound_address="127.0.0.2",
        app_address="127.0.0.3",
        unprivileged_ports=True,
    )


def test_what_metadata_leaves_open_is_taken_from_the_id_or_left_open() -> None:
    proxy = parsed("router~2001:DB8::1~gw.istio-system~x", CLUSTER_ID="east")
    assert (proxy.type, proxy.ip, proxy.name, proxy.namespace) == (ProxyType.ROUTER, "2001:db8::1", "gw", "istio-system")
    assert (proxy.network, proxy.network_view, proxy.instance_ips, proxy.service_account) == ("", None, (), "")
    assert proxy.interception is Interception.REDIRECT
    assert not proxy.bare
    assert proxy.inferred == ()


def test_a_bare_envoy_is_a_sidecar_in_the_default_namespace() -> None:
    proxy = parsed("some-envoy")
    assert (proxy.type, proxy.namespace, proxy.interception, proxy.bare) == (ProxyType.SIDECAR, "default", Interception.NONE, True)
    assert (proxy.ip, proxy.name) == ("192.0.2.1", "")
    assert any("bare Envoy" in words for words in proxy.inferred)
    assert any("from the connection" in words for words in proxy.inferred)


def test_metadata_of_others_does_not_make_an_envoy_ours() -> None:
    assert parsed("some-envoy", owner="me", ISTIO_VERSION="1.24").bare


@pytest.mark.parametrize("node_id", [ID, ID.replace("sidecar", "router")])
def test_an_envoy_without_metadata_is_bare_whatever_its_id_of_which_the_ip_is_taken(node_id: str) -> None:
    proxy = parsed(node_id)
    assert (proxy.id, proxy.bare, proxy.type, proxy.namespace) == (node_id, True, ProxyType.SIDECAR, "default")
    assert (proxy.ip, proxy.name, proxy.interception) == ("10.10.0.5", "", Interception.NONE)
    (said,) = proxy.inferred
    assert "bare Envoy" in said
    assert said.endswith("sidecar in namespace default, interception NONE, no inbound, and of its id only the IP counts")


def test_one_key_of_ours_and_an_id_of_our_form_are_a_proxy_of_ours() -> None:
    proxy = parsed(ID, WORKLOAD_NAME="reviews")
    assert (proxy.bare, proxy.name, proxy.namespace, proxy.interception) == (False, "reviews-v1", "shop", Interception.REDIRECT)


def test_metadata_without_an_id_of_our_form_is_not_bare() -> None:
    proxy = parsed("my-proxy", CLUSTER_ID="east")
    assert (proxy.bare, proxy.type, proxy.namespace, proxy.interception) == (False, ProxyType.SIDECAR, "default", Interception.REDIRECT)
    assert any("neither the node id nor NAMESPACE" in words for words in proxy.inferred)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("", None),
        ([], None),
        (" , ", None),
        ("b,a, b", ("a", "b")),
        (["b", " a ", ""], ("a", "b")),
        ("one", ("one",)),
    ],
)
def test_a_network_view_is_a_list_or_a_comma_separated_string(given: object, seen: tuple[str, ...] | None) -> None:
    assert parsed(REQUESTED_NETWORK_VIEW=given).network_view == seen


@pytest.mark.parametrize(
    ("given", "taken"), [("true", True), ("True", True), (True, True), (False, False), ("false", False), ("yes", False)]
)
def test_a_flag_is_a_boolean_or_its_word(given: object, taken: bool) -> None:
    assert parsed(UNPRIVILEGED_PORTS=given).unprivileged_ports is taken


def test_clusters_on_demand_are_for_sidecars_that_speak_delta_and_others_are_told() -> None:
    assert parsed(ON_DEMAND_CLUSTERS="true").on_demand_clusters
    assert not parsed(ON_DEMAND_CLUSTERS="false").on_demand_clusters
    for proxy, why in (
        (parsed("router~10.0.0.1~gw.istio-system~x", ON_DEMAND_CLUSTERS=True), "it is for sidecars, and this is a router"),
        (parsed(ON_DEMAND_CLUSTERS=True, GENERATOR="grpc"), "a gRPC client asks for what it needs anyway"),
        (parsed(delta=False, ON_DEMAND_CLUSTERS=True), "Envoy asks for single clusters with delta (DELTA_GRPC) only"),
    ):
        assert not proxy.on_demand_clusters
        assert f"ON_DEMAND_CLUSTERS: ignored, since {why}" in proxy.inferred


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("CLUSTER_ID", 7, "CLUSTER_ID: ignored, since it is a number, expected a string"),
        ("NETWORK", ["a"], "NETWORK: ignored, since it is a list, expected a string"),
        ("LABELS", "app=x", "LABELS: ignored, since it is a string, expected a map of strings"),
        ("LABELS", {"app": "x", "n": 1}, "LABELS.n: ignored, since it is a number, expected a string"),
        ("INSTANCE_IPS", ["10.0.0.1", 4], "INSTANCE_IPS[1]: ignored, since it is a number, expected a string"),
        ("INSTANCE_IPS", "10.0.0.1,nonsense", "INSTANCE_IPS: 'nonsense' left out, since it is no IP address"),
        ("INTERCEPTION_MODE", "MAGIC", "INTERCEPTION_MODE: REDIRECT, since 'MAGIC' is none of REDIRECT, TPROXY, NONE"),
        ("OUTBOUND_ADDRESS", "localhost", "OUTBOUND_ADDRESS: 127.0.0.1, since 'localhost' is no IP address"),
        ("APP_ADDRESS", {"a": "b"}, "APP_ADDRESS: ignored, since it is a map, expected a string"),
        ("UNPRIVILEGED_PORTS", 1, "UNPRIVILEGED_PORTS: ignored, since it is a number, expected a string"),
        (
            "REQUESTED_NETWORK_VIEW",
            {"a": "b"},
            "REQUESTED_NETWORK_VIEW: ignored, since it is a map, expected a list of",
        ),
        ("WORKLOAD_NAME", "x" * 5000, "WORKLOAD_NAME: ignored, since it is longer than 4096 characters"),
        ("LABELS", {f"l{number}": "" for number in range(600)}, "LABELS: ignored, since it has more than 512 entries"),
    ],
)
def test_metadata_of_the_wrong_kind_counts_as_absent_and_is_told(key: str, value: Any, words: str) -> None:
    proxy = parsed(**{key: value})
    assert [told for told in proxy.inferred if told.startswith(words)], proxy.inferred
    without = parsed(CLUSTER_ID="")
    assert (proxy.type, proxy.namespace, proxy.interception) == (without.type, without.namespace, without.interception)


def test_what_is_right_among_the_wrong_is_kept() -> None:
    assert parsed(LABELS={"app": "x", "n": 1}).labels == (("app", "x"),)
    assert parsed(INSTANCE_IPS="10.0.0.1,nonsense,10.0.0.1").instance_ips == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("ipv6:%5B::1%25lo%5D:4711", "::1"),
        ("unix:", ""),
        ("unix:/run/x.sock", ""),
        ("", ""),
    ],
)
def test_the_address_is_the_peers_where_the_id_names_none(peer: str, ip: str) -> None:
    proxy = parsed("sidecar~~a.b~c", peer=peer, WORKLOAD_NAME="a")
    assert proxy.ip == ip
    assert proxy.inferred == (f"ip: {ip or 'unknown'}, from the connection, since the node id names none",)


def test_null_is_nothing() -> None:
    assert parsed(CLUSTER_ID=None, LABELS=None, INSTANCE_IPS=None) == parsed(CLUSTER_ID="")
