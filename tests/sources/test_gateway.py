"""networking.istio.io Gateway -> row."""

from typing import Any

import pytest

from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Gateway, GatewayServer, TLSMode
from steersman.sources.decode import Decoded
from tests.sources.decoding import complaints, made

TLS = {"number": 15443, "name": "tls", "protocol": "TLS"}


def gateway(*servers: Any, version: str = "v1") -> Decoded:
    return made("Gateway", f"networking.istio.io/{version}", spec={"selector": {"istio": "eastwest"}, "servers": list(servers)})


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_a_gateway_is_the_same_in_every_version(version: str) -> None:
    servers = [{"port": TLS, "hosts": ["b.local", "*.local"], "tls": {"mode": "AUTO_PASSTHROUGH"}, "bind": "FD00:0::1", "name": "x"}]
    decoded = gateway(*servers, version=version)
    assert decoded.complaints == ()
    server = GatewayServer(
        port=15443, port_name="tls", protocol="TLS", hosts=("*.local", "b.local"), tls_mode=TLSMode.AUTO_PASSTHROUGH, bind="fd00::1"
    )
    assert decoded.value == Gateway(key=ObjectKey(ClusterID("east"), "ns", "a"), selector=(("istio", "eastwest"),), servers=(server,))


@pytest.mark.parametrize(
    ("protocol", "tls", "mode"),
    [
        ("HTTP", None, TLSMode.NONE),
        ("HTTP", {"httpsRedirect": True}, TLSMode.NONE),
        ("https", {"mode": "SIMPLE"}, TLSMode.SIMPLE),
        ("TLS", {}, TLSMode.PASSTHROUGH),
        ("TLS", {"mode": None}, TLSMode.PASSTHROUGH),
        ("TLS", {"mode": "ISTIO_MUTUAL"}, TLSMode.ISTIO_MUTUAL),
        ("TCP", {"mode": "OPTIONAL_MUTUAL"}, TLSMode.OPTIONAL_MUTUAL),
        ("TCP", None, TLSMode.NONE),
    ],
)
def test_the_tls_mode_is_istios(protocol: str, tls: Any, mode: TLSMode) -> None:
    (server,) = gateway({"port": {"number": 1, "protocol": protocol}, "hosts": ["*"], "tls": tls}).value.servers
    assert (server.protocol, server.tls_mode) == (protocol.upper(), mode)


@pytest.mark.parametrize(
    ("server", "cause"),
    [
        ({"hosts": ["*"]}, "spec.servers[1].port.number is None"),
        ({"port": {"number": 0, "protocol": "TCP"}, "hosts": ["*"]}, "spec.servers[1].port.number is 0"),
        ({"port": {"number": 1, "protocol": "QUIC"}, "hosts": ["*"]}, "spec.servers[1].port.protocol is 'QUIC'"),
        ({"port": {"number": 1}, "hosts": ["*"]}, "spec.servers[1].port.protocol is None"),
        ({"port": TLS, "hosts": []}, "spec.servers[1].hosts is empty"),
        ({"port": TLS}, "spec.servers[1].hosts is empty"),
        ({"port": TLS, "hosts": ["*"], "tls": {"mode": "MAYBE"}}, "spec.servers[1].tls.mode is 'MAYBE'"),
    ],
)
def test_a_bad_server_costs_only_itself(server: Any, cause: str) -> None:
    decoded = gateway({"port": TLS, "hosts": ["*"]}, server)
    assert [server.port for server in decoded.value.servers] == [15443]
    assert complaints(decoded) == {"bad-gateway-server": f"{cause}, so this server is left out"}


def test_a_bad_bind_address_is_ignored_and_told() -> None:
    decoded = gateway({"port": TLS, "hosts": ["*"], "bind": "unix:///x"})
    assert decoded.value.servers[0].bind == ""
    assert list(complaints(decoded)) == ["bad-address"]


def test_a_gateway_without_a_spec_selects_and_serves_nothing() -> None:
    assert made("Gateway", "networking.istio.io/v1").value == Gateway(key=ObjectKey(ClusterID("east"), "ns", "a"))
