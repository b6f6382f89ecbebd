"""Private keys don't leave over plaintext to where others may listen, unless that is allowed; all else is served all the same."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from steersman.names import CDS, EDS, LDS, SDS, SECRET_LEAF, SECRET_ROOT
from tests.live.mesh import CLUSTERS, EAST, HTTP, fill, outbound
from tests.support.live import ControlPlane, clusters, envoys, eventually, refusals, serving, warming
from tests.support.streams import DeltaStream, SotwStream, node_of

PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED.value[0]
ALL = "0.0.0.0"


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("withheld"), {"east": CLUSTERS["east"]}, host=ALL)
    fill(plane)
    with serving(plane):
        yield plane


def test_on_delta_secrets_alone_are_refused(withheld: ControlPlane) -> None:
    with DeltaStream(withheld.xds, node_of(EAST.client)) as stream:
        stream.ask(SDS, SECRET_LEAF, SECRET_ROOT)
        response = stream.response()
        assert (response.type_url, list(response.resources)) == (SDS, [])
        assert list(response.removed_resources) == [SECRET_ROOT, SECRET_LEAF]
        assert {error.resource_name.name: error.error_detail.code for error in response.resource_errors} == {
            SECRET_LEAF: PERMISSION_DENIED,
            SECRET_ROOT: PERMISSION_DENIED,
        }
        assert all("insecureSecrets" in error.error_detail.message for error in response.resource_errors)
        stream.acknowledge(response)
        assert outbound("web", HTTP) in stream.take(CDS)
        assert outbound("web", HTTP) in stream.take(EDS, outbound("web", HTTP))
        assert len(stream.take(LDS)) > 3
        (finding,) = withheld.findings()["secrets-withheld"]
        assert ALL in finding["cause"]


def test_on_state_of_the_world_secrets_alone_are_refused(withheld: ControlPlane) -> None:
    with SotwStream(withheld.xds, node_of(EAST.client)) as stream:
        stream.ask(SDS, SECRET_LEAF, SECRET_ROOT)
        response = stream.response()
        assert (response.type_url, list(response.resources)) == (SDS, [])
        assert {error.resource_name.name: error.error_detail.code for error in response.resource_errors} == {
            SECRET_LEAF: PERMISSION_DENIED,
            SECRET_ROOT: PERMISSION_DENIED,
        }
        stream.acknowledge(response)
        for type_url in (CDS, LDS):
            stream.ask(type_url)
            response = stream.response()
            assert response.type_url == type_url
            assert len(response.resources) > 3
            stream.acknowledge(response)


def test_nothing_of_a_key_is_computed_or_shown(withheld: ControlPlane) -> None:
    """Not even to whom it isn't sent: what the commands show is redacted anyway."""
    with DeltaStream(withheld.xds, node_of(EAST.client)) as stream:
        stream.take(CDS)
        dump = eventually(lambda: withheld.get(f"/debug/config_dump?proxy={EAST.client.name}&type=sds"))
        assert dump[0] == 200
        assert "PRIVATE KEY" not in dump[1]


@pytest.mark.envoy
def test_a_real_envoy_on_delta_does_without_them_and_waits_for_nothing(withheld: ControlPlane) -> None:
    """State of the world has no way to say that there are none: there it waits for its initial_fetch_timeout of 15 s."""
    with envoys(withheld, EAST.client) as running:
        envoy = running[EAST.client.name]
        assert (refusals(envoy), warming(envoy)) == ({}, {})
        assert envoy.stats("^sds.*init_fetch_timeout$") == {"sds.ROOTCA.init_fetch_timeout": 0, "sds.default.init_fetch_timeout": 0}
        assert outbound("web", HTTP) in clusters(envoy)


def test_secrets_are_sent_where_that_is_allowed(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, {"east": CLUSTERS["east"]}, host=ALL, xds={"insecureSecrets": True})
    fill(plane)
    with serving(plane), DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        found = stream.take(SDS, SECRET_LEAF, SECRET_ROOT)
        assert b"PRIVATE KEY" in found[SECRET_LEAF].resource.value
        assert b"PRIVATE KEY" not in found[SECRET_ROOT].resource.value
        assert b"BEGIN CERTIFICATE" in found[SECRET_ROOT].resource.value
        assert "secrets-withheld" not in plane.findings()
