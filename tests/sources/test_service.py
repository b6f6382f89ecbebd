"""v1 Service -> row."""

from typing import Any

import pytest

from steersman.model.facts import Severity
from steersman.model.ids import ClusterID, IPFamily, ObjectKey
from steersman.model.objects import Port, Protocol, Service, ServiceType
from steersman.sources.decode import InvalidField
from tests.sources.decoding import complaints, made

HTTP = {"name": "http", "port": 80}


def service(spec: dict[str, Any] | None = None, **more: Any) -> Service:
    """The row of a Service with this spec; fails on complaints."""
    decoded = made("Service", spec={"ports": [HTTP], **(spec or {})}, **more)
    assert complaints(decoded) == {}
    row: Service = decoded.value
    return row


def test_a_service_as_the_api_server_prints_it_is_kept_in_full() -> None:
    decoded = made(
        "Service",
        name="reviews",
        namespace="bookinfo",
        meta={
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "uid": "u1",
            "resourceVersion": "77",
            "generation": 3,
            "labels": {"b": "2", "a": "1"},
            "annotations": {"networking.istio.io/exportTo": " other , .", "traffic.istio.io/nodeSelector": '{"role": "ingress"}'},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        spec={
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1", "FD00:0::1"],
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "PreferDualStack",
            "externalIPs": ["203.0.113.1"],
            "internalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
            "selector": {"app": "reviews"},
            "sessionAffinity": "None",
            "ports": [
                {"name": "http-web", "port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP"},
                {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
            ],
        },
        status={"loadBalancer": {"ingress": [{"ip": "::ffff:198.51.100.7"}, {"hostname": "LB.example.com."}]}},
    )
    assert (decoded.uid, decoded.resource_version, decoded.created, decoded.complaints) == ("u1", "77", "2026-01-02T03:04:05Z", ())
    assert decoded.value == Service(
        key=ObjectKey(ClusterID("east"), "bookinfo", "reviews"),
        created="2026-01-02T03:04:05Z",
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=("10.96.0.1", "fd00::1"),
        families=(IPFamily.IPV4, IPFamily.IPV6),
        ports=(
            Port(name="http-web", port=80, protocol=Protocol.HTTP, target_port="web", node_port=30080),
            Port(name="dns", port=53, protocol=Protocol.UDP, target_port=5353),
        ),
        selector=(("app", "reviews"),),
        labels=(("a", "1"), ("b", "2")),
        export_to=("bookinfo", "other"),
        node_selector=(("role", "ingress"),),
        publish_not_ready=True,
        node_local=True,
        ingress=("198.51.100.7", "lb.example.com"),
        external_ips=("203.0.113.1",),
    )


def test_the_least_service_is_a_cluster_ip_in_the_default_namespace() -> None:
    row = service(namespace=None)
    assert (row.key.namespace, row.type, row.headless, row.cluster_ips, row.families) == ("default", ServiceType.CLUSTER_IP, False, (), ())
    assert row.ports == (Port(name="http", port=80, protocol=Protocol.HTTP, target_port=80),)


@pytest.mark.parametrize("null", ["clusterIP", "clusterIPs", "ipFamilies", "selector", "externalIPs", "type", "publishNotReadyAddresses"])
def test_null_is_as_good_as_absent(null: str) -> None:
    assert service({null: None}) == service()
    assert made("Service", spec={"ports": [HTTP]}, meta={"labels": None, "annotations": None, "creationTimestamp": None}).value == service()


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIPs": ["None"]}])
def test_cluster_ip_none_is_headless(spec: dict[str, Any]) -> None:
    row = service(spec)
    assert (row.headless, row.cluster_ips) == (True, ())


def test_families_come_from_the_cluster_ips_where_they_are_not_said() -> None:
    assert service({"clusterIPs": ["fd00::1", "10.0.0.1"]}).families == (IPFamily.IPV6, IPFamily.IPV4)


def test_an_external_name_stands_for_a_hostname() -> None:
    decoded = made("Service", spec={"type": "ExternalName", "externalName": "DB.example.com.", "ports": [HTTP]})
    assert (decoded.value.external_name, decoded.value.cluster_ips, decoded.complaints) == ("db.example.com", (), ())
    broken = made("Service", spec={"type": "ExternalName", "externalName": "not a host"})
    assert broken.value.external_name == ""
    assert broken.complaints[0].severity is Severity.ERROR


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        ({"name": "http"}, Protocol.HTTP),
        ({"name": "http-foo"}, Protocol.HTTP),
        ({"name": "HTTP2-foo"}, Protocol.HTTP2),
        ({"name": "http2"}, Protocol.HTTP2),
        ({"name": "httpfoo"}, Protocol.TCP),
        ({"name": "grpc"}, Protocol.GRPC),
        ({"name": "grpc-web"}, Protocol.GRPC),
        ({"name": "grpc-web-x"}, Protocol.GRPC),
        ({"name": "tcp-http"}, Protocol.TCP),
        ({"name": "https"}, Protocol.TCP),
        ({"name": "tls-x"}, Protocol.TCP),
        ({"name": "mongo"}, Protocol.TCP),
        ({"name": "udp-x"}, Protocol.TCP),
        ({"name": ""}, Protocol.TCP),
        ({}, Protocol.TCP),
        ({"name": "tcp", "appProtocol": "http"}, Protocol.HTTP),
        ({"name": "http", "appProtocol": "tcp"}, Protocol.TCP),
        ({"name": "http", "appProtocol": "example.com/own"}, Protocol.TCP),
        ({"appProtocol": "kubernetes.io/h2c"}, Protocol.HTTP2),
        ({"appProtocol": "kubernetes.io/ws"}, Protocol.HTTP),
        ({"appProtocol": "kubernetes.io/wss"}, Protocol.TCP),
        ({"appProtocol": "GRPC"}, Protocol.GRPC),
        ({"appProtocol": "https"}, Protocol.TCP),
        ({"name": "http", "protocol": "UDP"}, Protocol.UDP),
        ({"name": "http", "appProtocol": "http", "protocol": "UDP"}, Protocol.UDP),
    ],
)
def test_a_port_speaks_its_app_protocol_else_its_names_prefix_else_tcp(port: dict[str, Any], protocol: Protocol) -> None:
    assert service({"ports": [{"port": 1, **port}]}).ports[0].protocol is protocol


@pytest.mark.parametrize("target", [None, 0, ""])
def test_a_target_port_that_is_not_said_is_the_port(target: object) -> None:
    assert service({"ports": [{"port": 8, "targetPort": target}]}).ports[0].target_port == 8


@pytest.mark.parametrize(
    ("ports", "kept", "finding", "cause"),
    [
        ([HTTP, {"port": 0}], [80], "bad-port", "spec.ports[1].port is 0, so this port is left out"),
        ([HTTP, {"port": 65536}], [80], "bad-port", "spec.ports[1].port is 65536"),
        ([HTTP, {"port": 81, "targetPort": 70000}], [80, 81], "bad-port", "spec.ports[1].targetPort is 70000, so 81 is used"),
        ([HTTP, {"port": 81, "nodePort": -1}], [80, 81], "bad-port", "spec.ports[1].nodePort is -1"),
        ([HTTP, {"port": 9, "protocol": "SCTP"}], [80], "port-protocol-not-served", "spec.ports[1] (9) is SCTP"),
        ([HTTP, {"port": 9, "protocol": "tcp"}], [80], "port-protocol-not-served", "spec.ports[1] (9) is tcp"),
        ([HTTP, {"port": 80, "name": "x"}], [80], "duplicate-port", "spec.ports[1] is TCP 80 once more"),
        ([], [], "service-without-ports", "spec.ports names no port"),
        (None, [], "service-without-ports", "spec.ports names no port"),
    ],
)
def test_a_bad_port_costs_only_itself(ports: Any, kept: list[int], finding: str, cause: str) -> None:
    decoded = made("Service", spec={"ports": ports})
    assert [port.port for port in decoded.value.ports] == kept
    assert list(complaints(decoded)) == [finding]
    assert complaints(decoded)[finding].startswith(cause)


def test_a_service_for_an_external_name_needs_ports_too() -> None:
    decoded = made("Service", spec={"type": "ExternalName", "externalName": "db.example.com", "ports": []})
    assert complaints(decoded)["service-without-ports"].startswith("spec.ports names no port that can be served")


def test_one_number_may_serve_tcp_and_udp() -> None:
    assert [port.protocol for port in service({"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}).ports] == [
        Protocol.TCP,
        Protocol.UDP,
    ]


def test_bad_addresses_cost_only_themselves_and_are_told_in_one_complaint() -> None:
    decoded = made(
        "Service",
        spec={"ports": [HTTP], "clusterIPs": ["10.0.0.300", "10.0.0.3"], "externalIPs": ["x", None, "203.0.113.1"]},
        status={"loadBalancer": {"ingress": [{}, {"ip": "y"}, {"hostname": "a b"}, {"ip": "198.51.100.1", "hostname": "unused"}]}},
    )
    row = decoded.value
    assert (row.cluster_ips, row.external_ips, row.ingress) == (("10.0.0.3",), ("203.0.113.1",), ("198.51.100.1",))
    assert list(complaints(decoded)) == ["bad-address"]
    assert complaints(decoded)["bad-address"].startswith(
        "spec.clusterIPs[0] is '10.0.0.300', which is no IP address, and is left out; status"
    )
    assert complaints(decoded)["bad-address"].endswith("; and 1 more")


@pytest.mark.parametrize(
    ("text", "export_to", "complaint"),
    [
        ("*", (), False),
        ("a,*", (), False),
        (".", ("ns",), False),
        ("~", ("~",), False),
        ("b, a,,", ("a", "b"), False),
        ("", (), False),
        ("A_B", ("A_B",), True),
    ],
)
def test_export_to_names_namespaces(text: str, export_to: tuple[str, ...], complaint: bool) -> None:
    decoded = made("Service", spec={"ports": [HTTP]}, meta={"annotations": {"networking.istio.io/exportTo": text}})
    assert decoded.value.export_to == export_to
    assert bool(decoded.complaints) is complaint


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "role=ingress"])
def test_a_bad_node_selector_is_ignored_and_told(text: str) -> None:
    decoded = made("Service", spec={"ports": [HTTP]}, meta={"annotations": {"traffic.istio.io/nodeSelector": text}})
    assert decoded.value.node_selector == ()
    assert complaints(decoded)["bad-annotation"].startswith("traffic.istio.io/nodeSelector is ignored")


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "１５"])
def test_a_bad_gateway_port_label_stays_a_label_and_is_told(text: str) -> None:
    decoded = made("Service", spec={"ports": [HTTP]}, meta={"labels": {"networking.istio.io/gatewayPort": text}})
    assert decoded.value.labels == (("networking.istio.io/gatewayPort", text),)
    assert "15443 is used" in complaints(decoded)["bad-gateway-port"]
    assert service(meta={"labels": {"networking.istio.io/gatewayPort": "15444"}}).labels == (("networking.istio.io/gatewayPort", "15444"),)


def test_an_unknown_family_is_left_out_and_told() -> None:
    decoded = made("Service", spec={"ports": [HTTP], "ipFamilies": ["ipv4", "IPv6"]})
    assert decoded.value.families == (IPFamily.IPV6,)
    assert list(complaints(decoded)) == ["bad-ip-family"]


def test_an_unknown_type_makes_the_service_invalid() -> None:
    with pytest.raises(InvalidField, match=r"Service east/ns/a: spec.type: expected one of ClusterIP, .*, got 'Cluster'"):
        made("Service", spec={"type": "Cluster"})
