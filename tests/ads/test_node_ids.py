"""Two pods of one name, at one address of two networks that overlap, are two proxies."""

from envoy.config.core.v3.base_pb2 import Node

from steersman.ads.node import proxy_of
from steersman.model.proxy import Proxy

ID = "sidecar~10.10.0.3~productpage-v1.default~default.svc.cluster.local"


def told(**metadata: str) -> Proxy:
    node = Node(id=ID)
    node.metadata.update(metadata)
    return proxy_of(node, "ipv4:192.0.2.1:1")


def test_one_node_id_in_two_clusters_is_two_proxies() -> None:
    assert {told(CLUSTER_ID=cluster).id for cluster in ("east", "west")} == {f"east/{ID}", f"west/{ID}"}


def test_a_client_that_tells_no_cluster_is_known_by_its_node_id() -> None:
    assert told().id == ID
