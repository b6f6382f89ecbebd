"""Resources are shown with Envoy's own field names, whatever extensions they hold, and without private keys."""

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf.any_pb2 import Any

from steersman.admin.protojson import POOL, as_dict, message_of
from steersman.names import CDS, SDS


def test_field_names_are_the_originals_and_defaults_are_left_out() -> None:
    cluster = Cluster(name="a", alt_stat_name="b", type=Cluster.EDS)
    cluster.connect_timeout.FromSeconds(10)
    assert as_dict(message_of(CDS, cluster.SerializeToString())) == {
        "name": "a",
        "type": "EDS",
        "connect_timeout": "10s",
        "alt_stat_name": "b",
    }


def test_an_extension_that_nothing_imported_yet_is_shown_in_full() -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
    cluster = Cluster(name="a")
    cluster.typed_extension_protocol_options["x"].CopyFrom(Any(type_url=kind, value=b"\x12\x00"))
    assert as_dict(cluster)["typed_extension_protocol_options"]["x"] == {"@type": kind, "rbac": {}}


def test_maps_are_shown_by_key_however_deep_and_lists_and_fields_as_they_are() -> None:
    keys = [f"k{number}" for number in range(10, 40)]
    cluster = Cluster(name="a")
    for key in reversed(keys):
        cluster.metadata.filter_metadata[key].update({inner: [{"z": 1, "a": 2}] for inner in reversed(keys)})
        inside = Cluster(name="b", alt_stat_name="c")
        for inner in reversed(keys):
            inside.metadata.filter_metadata[inner].update({"x": "y"})
        cluster.typed_extension_protocol_options[key].Pack(inside)
    shown = as_dict(cluster)
    assert list(shown) == ["name", "metadata", "typed_extension_protocol_options"]
    assert list(shown["metadata"]["filter_metadata"]) == keys
    assert list(shown["metadata"]["filter_metadata"]["k10"]) == keys
    assert list(shown["metadata"]["filter_metadata"]["k10"]["k11"][0]) == ["a", "z"]
    assert list(shown["typed_extension_protocol_options"]) == keys
    option = shown["typed_extension_protocol_options"]["k10"]
    assert list(option) == ["@type", "name", "metadata", "alt_stat_name"]
    assert list(option["metadata"]["filter_metadata"]) == keys


def test_a_nested_type_is_found_in_its_package() -> None:
    found = POOL.FindMessageTypeByName("envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort")
    assert found.containing_type is not None
    assert found.containing_type.full_name == "envoy.extensions.filters.http.fault.v3.FaultAbort"


def test_a_type_of_no_package_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        POOL.FindMessageTypeByName("no.such.Thing")


def test_a_private_key_is_never_shown() -> None:
    secret = Secret(name="default")
    secret.tls_certificate.private_key.inline_bytes = b"-----BEGIN PRIVATE KEY-----"
    secret.tls_certificate.certificate_chain.inline_string = "chain"
    shown = message_of(SDS, secret.SerializeToString())
    assert b"PRIVATE KEY" not in shown.SerializeToString()
    assert as_dict(shown)["tls_certificate"]["certificate_chain"] == {"inline_string": "chain"}
    assert "private_key" in as_dict(shown)["tls_certificate"]
