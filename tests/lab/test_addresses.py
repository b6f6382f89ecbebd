"""Addresses: the same in every run, never twice on one network, and the same range wherever nothing joins two networks."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.errors import ConfigError
from steersman.lab.addresses import Addresses, addresses
from steersman.lab.isolation import Isolation
from steersman.model.ids import ClusterID, ObjectKey
from tests.lab.files import TWO_NETWORKS, pod, read, service, write_lab
from tests.support.examples import examples


def plan(file: Path, isolation: Isolation = Isolation.NAMESPACES, slot: int = 1) -> Addresses:
    lab, clusters = read(file)
    return addresses(lab, clusters, isolation, slot)


def key(text: str) -> ObjectKey:
    cluster, namespace, name = text.split("/")
    return ObjectKey(ClusterID(cluster), namespace, name)


def test_two_networks_give_one_address_to_different_services() -> None:
    found = plan(TWO_NETWORKS)

    assert found.pods[key("east/default/reviews-v1")] == found.pods[key("west/default/ratings-v1")]
    assert found.pods[key("east/default/reviews-v1")].ip == "10.10.0.4"


def test_clusters_on_one_network_share_its_range_without_overlap(tmp_path: Path) -> None:
    file = write_lab(tmp_path, {"a": [pod("one")], "b": [pod("one")], "c": [pod("one")]}, network_of={"a": "n", "b": "n", "c": "other"})

    found = {str(pod): address.ip for pod, address in plan(file).pods.items()}

    assert found == {"a/default/one": "10.10.0.2", "b/default/one": "10.10.0.3", "c/default/one": "10.10.0.2"}


def test_on_loopback_no_two_pods_share_an_address_and_no_two_runs_do() -> None:
    first, second = (plan(TWO_NETWORKS, Isolation.LOOPBACK, slot) for slot in (1, 2))

    given_away = [part for found in (first, second) for address in found.pods.values() for part in address] + [
        first.control,
        second.control,
    ]
    assert len(set(given_away)) == len(given_away)
    assert all(ip_address(address) in ip_network("127.0.0.0/8") for address in given_away)


def test_a_load_balancer_is_reached_at_an_address_for_every_pod_behind_it(tmp_path: Path) -> None:
    gateway = service("gateway", selector={"app": "gateway"}, type="LoadBalancer")
    file = write_lab(tmp_path, {"east": [pod("g1", app="gateway"), pod("g2", app="gateway"), gateway], "west": [pod("one")]})

    found = plan(file)

    assert found.external == {key("east/default/gateway"): (("192.0.2.3", key("east/default/g1")), ("192.0.2.4", key("east/default/g2")))}
    assert {router.wan for router in found.routers.values()} == {"192.0.2.1", "192.0.2.2"}


def test_on_loopback_a_load_balancer_is_its_pods(tmp_path: Path) -> None:
    file = write_lab(tmp_path, {"east": [pod("g1", app="gateway"), service("gateway", type="LoadBalancer")]})

    found = plan(file, Isolation.LOOPBACK)

    assert found.external == {key("east/default/gateway"): ((found.pods[key("east/default/g1")].ip, key("east/default/g1")),)}


def test_a_service_keeps_the_address_that_it_names_and_the_lack_of_one(tmp_path: Path) -> None:
    services = [
        service("fixed", clusterIP="10.96.0.7"),
        service("headless", clusterIP="None"),
        service("elsewhere", type="ExternalName"),
        service("any"),
    ]
    found = plan(write_lab(tmp_path, {"east": services})).vips

    assert found[key("east/default/fixed")] == "10.96.0.7"
    assert found[key("east/default/headless")] == "None"
    assert key("east/default/elsewhere") not in found
    assert ip_address(found[key("east/default/any")]) in ip_network("10.96.0.0/24")


@settings(deadline=None, max_examples=examples(25))
@given(names=st.sets(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=14))
def test_no_two_services_of_a_cluster_share_an_address_in_however_narrow_a_range(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    directory = tmp_path_factory.mktemp("lab")
    objects = [service(name) for name in sorted(names)]
    file = write_lab(directory, {"east": objects}, networks={"network-east": {"services": "10.96.0.0/28"}})

    found = plan(file).vips

    assert len(set(found.values())) == len(names)
    assert plan(file).vips == found, "the same in every run"


def test_a_range_without_an_address_for_every_pod_is_refused(tmp_path: Path) -> None:
    pods = [pod(f"p{number}") for number in range(14)]
    file = write_lab(tmp_path, {"east": pods}, network_of={"east": "n"}, networks={"n": {"pods": "10.1.0.0/28"}})

    with pytest.raises(ConfigError, match=r"lab.networks.n.pods: got '10.1.0.0/28', expected a range with an address for every pod"):
        plan(file)
