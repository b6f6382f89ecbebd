"""The bootstrap says who the proxy is and where its control plane is, in words that Envoy itself accepts."""

import json
import subprocess
from pathlib import Path

import pytest

from steersman.errors import ConfigError
from steersman.lab.envoy import envoy_binary
from steersman.model.ids import Locality
from steersman.model.proxy import Interception
from steersman.server.bootstrap import Mode, envoy_bootstrap, node_metadata
from tests.support.envoy import refused_by_envoy

ID = "sidecar~10.10.0.5~reviews-v1.default~default.svc.cluster.local"


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("xds", ["192.0.2.9:15010", "[2001:db8::9]:15010", "steersman.example:15010", "unix:/run/steersman/xds.sock"])
def test_envoy_accepts_every_form_of_address_in_both_modes(mode: Mode, xds: str, tmp_path: Path) -> None:
    bootstrap = envoy_bootstrap(
        node_id=ID,
        xds=xds,
        mode=mode,
        node_cluster="reviews",
        locality=Locality("here", "here-1", "rack-7"),
        metadata=node_metadata(
            cluster="east",
            network="network-east",
            namespace="default",
            labels={"app": "reviews", "version": "v1"},
            service_account="reviews",
            workload="reviews-v1",
            instance_ips=("10.10.0.5", "2001:db8::5"),
            network_view=("network-east", "network-west"),
            interception=Interception.NONE,
            outbound_address="127.0.0.2",
            app_address="127.0.0.1",
            unprivileged_ports=True,
            on_demand_clusters=True,
        ),
    )
    (tmp_path / "bootstrap.json").write_text(json.dumps(bootstrap))

    command = [str(envoy_binary()), "--mode", "validate", "--config-path", "bootstrap.json", "--log-level", "error"]
    validated = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert validated.returncode == 0, validated.stderr
    assert "configuration 'bootstrap.json' OK" in validated.stdout


def test_the_node_carries_only_what_is_known() -> None:
    assert envoy_bootstrap(node_id="anything")["node"] == {"id": "anything", "cluster": "anything"}
    assert envoy_bootstrap(node_id="router~~gateway.edge~d")["node"] == {"id": "router~~gateway.edge~d", "cluster": "gateway.edge"}
    assert envoy_bootstrap(node_id="anything", node_cluster="shop")["node"] == {"id": "anything", "cluster": "shop"}
    assert node_metadata(cluster="east") == {"CLUSTER_ID": "east", "INTERCEPTION_MODE": "REDIRECT"}


def test_a_name_is_resolved_by_envoy_and_an_address_is_not() -> None:
    def cluster_type(xds: str) -> str:
        return str(envoy_bootstrap(node_id=ID, xds=xds)["static_resources"]["clusters"][0]["type"])

    assert [cluster_type(xds) for xds in ("192.0.2.9:1", "[::1]:1", "unix:/s")] == ["STATIC"] * 3
    assert cluster_type("steersman.example:1") == "STRICT_DNS"


@pytest.mark.envoy
def test_load_is_reported_if_asked_for_and_envoy_takes_that(tmp_path: Path) -> None:
    assert "cluster_manager" not in envoy_bootstrap(node_id="bare")
    bootstrap = envoy_bootstrap(node_id="bare", load_reports=True)
    [service] = bootstrap["cluster_manager"]["load_stats_config"]["grpc_services"]
    assert service["envoy_grpc"]["cluster_name"] == bootstrap["static_resources"]["clusters"][0]["name"]
    assert refused_by_envoy(bootstrap, tmp_path) == ""


def test_the_mode_decides_the_kind_of_stream() -> None:
    def api_type(mode: Mode) -> str:
        return str(envoy_bootstrap(node_id=ID, mode=mode)["dynamic_resources"]["ads_config"]["api_type"])

    assert (api_type(Mode.DELTA), api_type(Mode.SOTW)) == ("DELTA_GRPC", "GRPC")


def test_the_admin_interface_can_be_left_out_or_be_a_socket_file() -> None:
    assert "admin" not in envoy_bootstrap(node_id=ID, admin=None)
    assert envoy_bootstrap(node_id=ID, admin="unix:/run/admin")["admin"] == {"address": {"pipe": {"path": "/run/admin"}}}


@pytest.mark.parametrize("address", ["", "15010", ":15010", "host:", "host:port", "host:0", "host:65536", "2001:db8::9:15010", "unix:"])
def test_an_address_of_no_known_form_is_refused_and_named(address: str) -> None:
    with pytest.raises(ConfigError, match=r"xds address: got .*expected HOST:PORT"):
        envoy_bootstrap(node_id=ID, xds=address)


def test_a_control_plane_that_is_back_is_found_within_seconds() -> None:
    (service,) = envoy_bootstrap(node_id=ID)["dynamic_resources"]["ads_config"]["grpc_services"]

    assert service["envoy_grpc"]["retry_policy"]["retry_back_off"]["max_interval"] == "5s"
