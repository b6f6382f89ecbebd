"""The seeds of the bytes' fuzzing, made by code: conversations of real kinds, from which the fuzzer goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.json_format import ParseDict

from steersman.names import CDS, EDS, LDS, RDS, SDS
from tests.fuzz.subject import change, piece

NODES: dict[str, dict[str, Any]] = {
    "bare": {"id": "n"},
    "sidecar": {
        "id": "sidecar~10.0.0.1~web-1.default~cluster.local",
        "metadata": {
            "CLUSTER_ID": "east",
            "NETWORK": "net",
            "LABELS": {"app": "web"},
            "INSTANCE_IPS": "10.0.0.1,fd00::1",
            "REQUESTED_NETWORK_VIEW": ["a", "b"],
            "INTERCEPTION_MODE": "TPROXY",
            "UNPRIVILEGED_PORTS": True,
        },
        "locality": {"region": "r", "zone": "z"},
        "user_agent_name": "envoy",
        "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 40}},
    },
    "grpc": {
        "id": "g",
        "metadata": {"GENERATOR": "grpc"},
        "user_agent_name": "gRPC C-core",
        "client_features": ["xds.config.resource-in-sotw"],
    },
    "odd": {"id": "~~~", "metadata": {"LABELS": "no map", "INSTANCE_IPS": [1, None, "::ffff:10.0.0.1"], "CLUSTER_ID": {"a": []}}},
}
_DELTA, _SOTW = b"\x01", b"\x00"


def seeds() -> Iterator[tuple[str, bytes]]:
    """Names with bytes, as `plays` takes them."""
    for name, fields in NODES.items():
        node = ParseDict(fields, Node())
        yield f"delta-{name}", _DELTA + _delta(node)
        yield f"sotw-{name}", _SOTW + _sotw(node)


def _delta(node: Any) -> bytes:
    """Everything an Envoy does: all types, an ACK, a NACK, a change, names that come and go, a reconnect's versions."""
    said = [
        DeltaDiscoveryRequest(node=node, type_url=CDS),
        DeltaDiscoveryRequest(type_url=CDS, response_nonce="1"),
        DeltaDiscoveryRequest(type_url=EDS, resource_names_subscribe=["a", "b", "c"], initial_resource_versions={"a": "1", "x": "2"}),
        DeltaDiscoveryRequest(type_url=LDS),
        DeltaDiscoveryRequest(type_url=RDS, resource_names_subscribe=["*", "a"]),
        DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=["b"], response_nonce="2"),
        DeltaDiscoveryRequest(type_url=SDS, resource_names_subscribe=["default", "ROOTCA"]),
        DeltaDiscoveryRequest(type_url="type.googleapis.com/some.Thing"),
        _refused(DeltaDiscoveryRequest(type_url=LDS, response_nonce="3")),
        DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["*"]),
    ]
    return b"".join(piece(one.SerializeToString()) + change(67 * number) for number, one in enumerate(said))


def _sotw(node: Any) -> bytes:
    said = [
        DiscoveryRequest(node=node, type_url=CDS, version_info="1"),
        DiscoveryRequest(type_url=CDS, version_info="1", response_nonce="1"),
        DiscoveryRequest(type_url=EDS, resource_names=["a", "b", "c"]),
        DiscoveryRequest(type_url=LDS),
        DiscoveryRequest(type_url=RDS, resource_names=["*", "a"]),
        DiscoveryRequest(type_url=EDS, resource_names=["a"], response_nonce="2"),
        DiscoveryRequest(type_url=SDS, resource_names=["default", "ROOTCA"]),
        _refused(DiscoveryRequest(type_url=LDS, response_nonce="3")),
        DiscoveryRequest(type_url=CDS, resource_names=["a"], response_nonce="4"),
        DiscoveryRequest(type_url=EDS, response_nonce="2"),
    ]
    return b"".join(piece(one.SerializeToString()) + change(67 * number) for number, one in enumerate(said))


def _refused(request: Any) -> Any:
    request.error_detail.code = 13
    request.error_detail.message = "a: it is bad"
    return request


def write(directory: Path) -> None:
    """A file for each; those that the fuzzer has put there stay."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, raw in seeds():
        (directory / f"seed-{name}").write_bytes(raw)
