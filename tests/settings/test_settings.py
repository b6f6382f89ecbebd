"""The configuration file: what it means, and that whatever is wrong is refused with file, path, value and what was expected."""

from contextlib import suppress
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.errors import ConfigError
from steersman.model.clusters import OutagePolicy
from steersman.model.config import (
    ClusterConfig,
    MeshConfig,
    MissingGateway,
    NetworkConfig,
    NetworkEndpoints,
    NetworkGatewayConfig,
    OutboundTrafficPolicy,
    Passthrough,
)
from steersman.model.ids import ClusterID, NetworkID
from steersman.model.limits import Limits
from steersman.names import EDS, SDS
from steersman.settings import (
    Address,
    ConfigErrors,
    KubernetesSource,
    OutageSettings,
    RemovalGuardSettings,
    WarmStartSettings,
    parse_settings,
    read_settings,
)

ROOT = Path(__file__).resolve().parents[2]
FILE = Path("mesh.yaml")
EAST = "clusters: [{name: east, files: .}]\n"


def refused(text: str, file: Path = FILE) -> list[tuple[str, object, str]]:
    """(path, value, expected) of all that is wrong with this text; each is of that file."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, file)
    errors = caught.value.errors if isinstance(caught.value, ConfigErrors) else (caught.value,)
    assert all(error.file.startswith(str(file)) for error in errors)
    assert all(str(error) in str(caught.value) for error in errors)
    return [(error.path, error.value, error.expected) for error in errors]


def test_a_file_that_names_only_its_clusters_gets_the_defaults_of_the_design() -> None:
    read = parse_settings(EAST, FILE)
    assert read.mesh == MeshConfig()
    assert [cluster.config for cluster in read.clusters] == [ClusterConfig(name=ClusterID("east"))]
    assert (read.clusters[0].sync_timeout, read.clusters[0].path) == (30.0, "clusters[0]")
    assert read.ca.directory == Path(".steersman/ca")
    assert (read.server.xds.address, read.server.xds.insecure_secrets) == (Address("127.0.0.1", 15010), False)
    assert read.server.xds.load_reporting_interval == 10.0
    assert (read.server.xds.ack_deadline, read.server.xds.limits, read.server.xds.ttls) == (60.0, Limits(), {})
    assert (read.server.admin.address, read.server.inspect.address) == (Address("127.0.0.1", 15014), Address("127.0.0.1", 15011))


def test_every_key_of_the_design_is_read(tmp_path: Path) -> None:
    (tmp_path / "clusters" / "east").mkdir(parents=True)
    (tmp_path / "west.kubeconfig").touch()
    file = tmp_path / "mesh.yaml"
    file.write_text("""
mesh:
  domain: Mesh.Example.
  trustDomain: td1
  rootNamespace: root
  missingGateway: direct
  passthrough: sniCluster
  networks:
    network-west:
      missingGateway: withhold
      endpoints: [{fromRegistry: west}, {fromCidr: 10.20.1.9/16}]
      gateways:
        - {address: "2001:DB8:0:0::7", port: 15444}
        - {registryServiceName: eastwest.istio-system.svc.cluster.local, port: 443}
    network-east: {gateways: [{address: GW.example.com}]}
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  localityLbSetting: {enabled: false}
clusters:
  - {name: east, network: network-east, files: clusters/east}
  - {name: west, network: network-west, trustDomain: td2, syncTimeout: 1m30s, kubernetes: {kubeconfig: west.kubeconfig, context: ctx}}
  - {name: here, syncTimeout: 500ms, kubernetes: {inCluster: true}}
ca: {directory: keys}
server:
  xds:
    address: "[::1]:0"
    insecureSecrets: true
    ackDeadline: 90s
    loadReportingInterval: 1m
    ttl: {eds: 2m, sds: 1h}
    limits:
      {names: 7, nameLength: 8, types: 9, messageSize: 1Mi, streamsPerNode: 10, streams: 11, newStreamsPerSecond: 12, waitingStreams: 13}
  admin: {address: "localhost:15114"}
  inspect: {address: "0.0.0.0:15111"}
""")
    read = read_settings(file)
    assert read.mesh == MeshConfig(
        domain="mesh.example",
        trust_domain="td1",
        root_namespace="root",
        missing_gateway=MissingGateway.DIRECT,
        passthrough=Passthrough.SNI_CLUSTER,
        networks=(
            NetworkConfig(
                name=NetworkID("network-west"),
                missing_gateway=MissingGateway.WITHHOLD,
                endpoints=(NetworkEndpoints(from_registry=ClusterID("west")), NetworkEndpoints(from_cidr="10.20.0.0/16")),
                gateways=(
                    NetworkGatewayConfig(address="2001:db8::7", port=15444),
                    NetworkGatewayConfig(registry_service_name="eastwest.istio-system.svc.cluster.local", port=443),
                ),
            ),
            NetworkConfig(name=NetworkID("network-east"), gateways=(NetworkGatewayConfig(address="gw.example.com"),)),
        ),
        outbound_traffic_policy=OutboundTrafficPolicy.REGISTRY_ONLY,
        locality_lb_enabled=False,
    )
    east, west, here = read.clusters
    assert (east.files, east.kubernetes, east.config.network) == (tmp_path / "clusters/east", None, "network-east")
    assert (west.files, west.kubernetes) == (None, KubernetesSource(kubeconfig=tmp_path / "west.kubeconfig", context="ctx"))
    assert (west.config.trust_domain, west.sync_timeout) == ("td2", 90.0)
    assert [cluster.config.slices_only for cluster in (east, west, here)] == [False, True, True]
    assert (here.kubernetes, here.sync_timeout) == (KubernetesSource(in_cluster=True), 0.5)
    assert read.ca.directory == tmp_path / "keys"
    assert read.server.xds.load_reporting_interval == 60.0
    assert (str(read.server.xds.address), read.server.xds.insecure_secrets, read.server.xds.ack_deadline) == ("[::1]:0", True, 90.0)
    assert read.server.xds.ttls == {EDS: 120.0, SDS: 3600.0}
    assert read.server.xds.limits == Limits(
        names=7,
        name_length=8,
        types=9,
        message_size=1 << 20,
        streams_per_node=10,
        streams=11,
        new_streams_per_second=12,
        waiting_streams=13,
    )
    assert (read.server.admin.address, read.server.inspect.address) == (Address("localhost", 15114), Address("0.0.0.0", 15111))


def test_the_example_shows_every_key_and_the_true_defaults() -> None:
    example = ROOT / "config" / "example.yaml"
    read = read_settings(example)
    least = parse_settings(f"clusters: [{{name: east, files: '{ROOT / 'config'}'}}]", example)
    document = yaml.safe_load(example.read_text())
    assert read.server == least.server
    assert read.ca == least.ca
    assert {cluster.outage for cluster in read.clusters} == {OutageSettings()}
    assert {cluster.removal_guard for cluster in read.clusters} == {RemovalGuardSettings()}
    del document["mesh"]["networks"]
    document["clusters"] = [{"name": "east", "files": str(ROOT / "config")}]
    assert parse_settings(yaml.safe_dump(document), example).mesh == least.mesh
    assert read.warm_start == least.warm_start
    assert set(document) == {"mesh", "clusters", "outage", "removalGuard", "warmStart", "ca", "server"}
    with pytest.raises(ConfigError, match="a known key, one of domain, ") as caught:
        parse_settings("mesh: {nothing: 1}\n" + EAST, FILE)
    known = caught.value.expected.removeprefix("a known key, one of ").split(", ")
    assert set(document["mesh"]) | {"networks"} == set(known)


def test_a_warm_start_is_beside_the_ca_unless_it_has_a_place_of_its_own_or_is_switched_off(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    assert parse_settings(EAST, file).warm_start == WarmStartSettings(directory=tmp_path / ".steersman" / "warm", max_age=86400.0)
    assert parse_settings(EAST + "ca: {directory: /state/ca}", file).warm_start.directory == Path("/state/warm")
    own = parse_settings(EAST + "warmStart: {directory: kept, maxAge: 90m}", file).warm_start
    assert own == WarmStartSettings(directory=tmp_path / "kept", max_age=5400.0)
    assert parse_settings(EAST + "warmStart: {enabled: false, directory: kept}", file).warm_start.directory is None
    file.touch()
    assert refused(EAST + "warmStart: {enabled: 1, directory: mesh.yaml, maxAge: 1 day, age: 2}", file) == [
        ("warmStart.enabled", 1, "true or false"),
        ("warmStart.directory", str(file), "a directory, or a path where one can be made"),
        ("warmStart.maxAge", "1 day", 'a duration such as "30s", "500ms" or "1m"'),
        ("warmStart.age", 2, "a known key, one of directory, enabled, maxAge; did you mean maxAge?"),
    ]


def test_a_cluster_takes_the_removal_guard_of_all_where_it_has_none_of_its_own() -> None:
    text = """
    removalGuard: {share: 12.5%, atLeast: 10}
    clusters:
      - {name: a, kubernetes: {inCluster: true}}
      - {name: b, kubernetes: {inCluster: true}, removalGuard: {hold: 10m}}
      - {name: c, kubernetes: {inCluster: true}, removalGuard: {enabled: false}}
    """
    assert [cluster.removal_guard for cluster in parse_settings(text, FILE).clusters] == [
        RemovalGuardSettings(share=0.125, at_least=10),
        RemovalGuardSettings(share=0.125, at_least=10, hold=600.0),
        RemovalGuardSettings(enabled=False, share=0.125, at_least=10),
    ]


def test_a_cluster_takes_the_outage_policy_of_all_where_it_has_none_of_its_own() -> None:
    text = """
    outage: {policy: demote, after: 5m}
    clusters:
      - {name: a, kubernetes: {inCluster: true}}
      - {name: b, kubernetes: {inCluster: true}, outage: {policy: drop}}
      - {name: c, kubernetes: {inCluster: true}, outage: {after: 10s}}
    """
    assert [cluster.outage for cluster in parse_settings(text, FILE).clusters] == [
        OutageSettings(policy=OutagePolicy.DEMOTE, after=300.0),
        OutageSettings(policy=OutagePolicy.DROP, after=300.0),
        OutageSettings(policy=OutagePolicy.DEMOTE, after=10.0),
    ]


def test_settings_cannot_be_changed() -> None:
    read = parse_settings(EAST, FILE)
    with pytest.raises(FrozenInstanceError):
        read.file = Path("other")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "path", "value", "expected"),
    [
        ("mesh: {domian: x}", "mesh.domian", "x", "did you mean domain?"),
        ("nothing: 1", "nothing", 1, "one of ca, clusters, mesh, outage, remoteClusters, removalGuard, server"),
        ("mesh: {outboundTrafficPolicy: {}, domain: 5}", "mesh.domain", 5, "a DNS name"),
        ("mesh: {domain: -x}", "mesh.domain", "-x", "a DNS name"),
        ("mesh: {trustDomain: A/B}", "mesh.trustDomain", "A/B", "SPIFFE trust domain"),
        ("mesh: {rootNamespace: Root}", "mesh.rootNamespace", "Root", "lower-case"),
        ("mesh: {missingGateway: maybe}", "mesh.missingGateway", "maybe", "one of withhold, direct"),
        ("mesh: {passthrough: [sniCluster]}", "mesh.passthrough", ["sniCluster"], "one of filterChains, sniCluster"),
        ("mesh: [1]", "mesh", [1], "a mapping"),
        ("mesh:", "mesh", None, "a mapping"),
        ("mesh: {localityLbSetting: {enabled: 1}}", "mesh.localityLbSetting.enabled", 1, "true or false"),
        ("mesh: {outboundTrafficPolicy: {mode: allow_any}}", "mesh.outboundTrafficPolicy.mode", "allow_any", "ALLOW_ANY, REGISTRY_ONLY"),
        ("mesh: {networks: {n: {endpoint: []}}}", "mesh.networks.n.endpoint", [], "did you mean endpoints?"),
        ("mesh: {networks: {1: {}}}", "mesh.networks.1", 1, "the name of a network"),
        ("mesh: {networks: {n: {endpoints: {}}}}", "mesh.networks.n.endpoints", {}, "a list"),
        ("mesh: {networks: {n: {endpoints: [{}]}}}", "mesh.networks.n.endpoints[0]", {}, "exactly one of fromRegistry, fromCidr"),
        ("mesh: {networks: {n: {endpoints: [{fromCidr: 10.0.0.0/33}]}}}", "mesh.networks.n.endpoints[0].fromCidr", "10.0.0.0/33", "range"),
        ("mesh: {networks: {n: {endpoints: [{fromCidr: 10.0.0.1}]}}}", "mesh.networks.n.endpoints[0].fromCidr", "10.0.0.1", "range"),
        (
            "mesh: {networks: {n: {endpoints: [{fromCidr: 'fe80::1%eth0/64'}]}}}",
            "mesh.networks.n.endpoints[0].fromCidr",
            "fe80::1%eth0/64",
            "",
        ),
        (
            "mesh: {networks: {n: {gateways: [{address: a, registryServiceName: b}]}}}",
            "mesh.networks.n.gateways[0]",
            {"address": "a", "registryServiceName": "b"},
            "exactly one of address, registryServiceName",
        ),
        (
            "mesh: {networks: {n: {gateways: [{address: 10.0.0.256}]}}}",
            "mesh.networks.n.gateways[0].address",
            "10.0.0.256",
            "an IP address or",
        ),
        ("mesh: {networks: {n: {gateways: [{address: a, port: 0}]}}}", "mesh.networks.n.gateways[0].port", 0, "1 to 65535"),
        ("mesh: {networks: {n: {gateways: [{address: a, port: '80'}]}}}", "mesh.networks.n.gateways[0].port", "80", "1 to 65535"),
        ("mesh: {networks: {n: {gateways: [{address: a, port: true}]}}}", "mesh.networks.n.gateways[0].port", True, "1 to 65535"),
        ("server: {xds: {address: 15010}}", "server.xds.address", 15010, "HOST:PORT"),
        ("server: {xds: {address: ':15010'}}", "server.xds.address", ":15010", "HOST:PORT"),
        ("server: {xds: {address: '127.0.0.1:65536'}}", "server.xds.address", "127.0.0.1:65536", "HOST:PORT"),
        ("server: {xds: {address: '::1:15010'}}", "server.xds.address", "::1:15010", "[::1]:15010"),
        ("server: {admin: {address: '1.2.3:1'}}", "server.admin.address", "1.2.3:1", "HOST:PORT"),
        ("removalGuard: {share: 100%}", "removalGuard.share", "100%", "less than 100%"),
        ("removalGuard: {atLeast: 0}", "removalGuard.atLeast", 0, "a whole number, 1 to"),
        ("removalGuard: {hold: 5}", "removalGuard.hold", 5, "a duration"),
        ("removalGuard: {enabled: 'on'}", "removalGuard.enabled", "on", "true or false"),
        ("server: {inspect: {remoteChanges: 1}}", "server.inspect.remoteChanges", 1, "true or false"),
        ("server: {inspect: {addres: 'a:1'}}", "server.inspect.addres", "a:1", "did you mean address?"),
        ("server: {xds: {insecureSecrets: 'no'}}", "server.xds.insecureSecrets", "no", "true or false"),
        ("server: {xds: {ackDeadline: 60}}", "server.xds.ackDeadline", 60, "a duration"),
        ("server: {xds: {loadReportingInterval: 500ms}}", "server.xds.loadReportingInterval", "500ms", 'a duration of at least "1s"'),
        ("server: {xds: {ttl: {eds: 2}}}", "server.xds.ttl.eds", 2, 'a duration such as "2m", from 5s to 8760h'),
        ("server: {xds: {ttl: {cds: 1s}}}", "server.xds.ttl.cds", "1s", "from 5s"),
        ("server: {xds: {ttl: {cds: 8761h}}}", "server.xds.ttl.cds", "8761h", "to 8760h"),
        ("server: {xds: {ttl: {endpoints: 1m}}}", "server.xds.ttl.endpoints", "1m", "eds"),
        ("server: {xds: {limits: {name: 1}}}", "server.xds.limits.name", 1, "did you mean names?"),
        ("server: {xds: {limits: {names: 0}}}", "server.xds.limits.names", 0, "a whole number, 1 to "),
        ("server: {xds: {limits: {types: true}}}", "server.xds.limits.types", True, "a whole number"),
        ("server: {xds: {limits: {nameLength: '9'}}}", "server.xds.limits.nameLength", "9", "a whole number"),
        ("server: {xds: {limits: {messageSize: 64Ki}}}", "server.xds.limits.messageSize", "64Ki", "at least 128Ki"),
        ("server: {xds: {limits: {messageSize: 2Gi}}}", "server.xds.limits.messageSize", "2Gi", "less than 2Gi"),
        ("server: {xds: {limits: {messageSize: 16MB}}}", "server.xds.limits.messageSize", "16MB", 'a size such as "16Mi"'),
        ("ca: {directory: ''}", "ca.directory", "", "not empty"),
        ("ca: {dir: x}", "ca.dir", "x", "one of directory"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_path(text: str, path: str, value: object, expected: str) -> None:
    assert [(at, found) for at, found, _ in refused(f"{text}\n{EAST}")] == [(path, value)]
    assert expected in refused(f"{text}\n{EAST}")[0][2]


@pytest.mark.parametrize(
    ("cluster", "path", "value", "expected"),
    [
        ("{name: a, files: missing}", "clusters[0].files", "missing", "an existing directory"),
        ("{name: a, files: 7}", "clusters[0].files", 7, "a text"),
        ("{files: .}", "clusters[0].name", None, "CLUSTER_ID"),
        ("{name: a/b, files: .}", "clusters[0].name", "a/b", "a name"),
        ("{name: ca, files: .}", "clusters[0].name", "ca", "other than ca, config, dns, proxy"),
        ("{name: 5, files: .}", "clusters[0].name", 5, "a name"),
        ("{name: a, network: 5, files: .}", "clusters[0].network", 5, "a text"),
        ("{name: a}", "clusters[0]", {"name": "a"}, "exactly one of files, kubernetes"),
        ("{name: a, file: .}", "clusters[0]", {"name": "a", "file": "."}, "exactly one of"),
        ("{name: a, files: ., outage: {policy: keep}}", "clusters[0].outage", {"policy": "keep"}, "no outage beside files"),
        ("{name: a, kubernetes: {inCluster: true}, outage: {policy: no}}", "clusters[0].outage.policy", False, "one of keep, demote, drop"),
        ("{name: a, kubernetes: {inCluster: true}, outage: {after: 5}}", "clusters[0].outage.after", 5, "a duration"),
        ("{name: a, files: ., removalGuard: {}}", "clusters[0].removalGuard", {}, "no removalGuard beside files"),
        ("{name: a, kubernetes: {inCluster: true}, removalGuard: {share: 0.5}}", "clusters[0].removalGuard.share", 0.5, '"50%"'),
        (
            "{name: a, kubernetes: {inCluster: true}, removalGuard: {least: 3}}",
            "clusters[0].removalGuard.least",
            3,
            "did you mean atLeast?",
        ),
        ("{name: a, files: ., syncTimeout: 30}", "clusters[0].syncTimeout", 30, '"30s"'),
        ("{name: a, files: ., syncTimeout: 30x}", "clusters[0].syncTimeout", "30x", '"30s"'),
        ("{name: a, files: ., syncTimeout: 0s}", "clusters[0].syncTimeout", "0s", "more than none"),
        ("{name: a, kubernetes: {}}", "clusters[0].kubernetes", {}, "exactly one of kubeconfig, inCluster"),
        ("{name: a, kubernetes: {kubeconfig: missing}}", "clusters[0].kubernetes.kubeconfig", "missing", "an existing file"),
        ("{name: a, kubernetes: {inCluster: false}}", "clusters[0].kubernetes.inCluster", False, "true"),
        ("{name: a, kubernetes: {inCluster: true, context: c}}", "clusters[0].kubernetes.context", "c", "no context beside inCluster"),
        ("east", "clusters[0]", "east", "a mapping"),
    ],
)
def test_a_wrong_cluster_is_refused_by_its_path(cluster: str, path: str, value: object, expected: str) -> None:
    at, found, wanted = refused(f"clusters: [{cluster}]")[0]
    assert (at, found) == (path, value)
    assert expected in wanted


@pytest.mark.parametrize("text", ["", "clusters: []", "mesh: {}", "clusters: {}", "clusters:", "- a list", "just text"])
def test_a_file_without_clusters_is_refused(text: str) -> None:
    assert len(refused(text)) == 1


def test_two_clusters_of_one_name_are_refused_naming_both() -> None:
    text = "clusters: [{name: east, files: .}, {name: west, files: .}, {name: east, files: .}]"
    assert refused(text) == [("clusters[2].name", "east", "a name of its own: clusters[0] is named so as well")]


def test_two_networks_that_claim_one_cluster_are_legal_and_keep_their_order() -> None:
    text = "mesh: {networks: {z: {endpoints: [{fromRegistry: east}]}, a: {endpoints: [{fromRegistry: east}]}}}\n" + EAST
    assert [network.name for network in parse_settings(text, FILE).mesh.networks] == ["z", "a"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = "mesh: {domain: 5, x: 1}\nclusters: [{name: a, files: missing}, {name: a, files: .}]\nserver: {xds: {address: 1}}"
    paths = [path for path, _, _ in refused(text)]
    assert paths == ["mesh.domain", "mesh.x", "clusters[0].files", "clusters[1].name", "server.xds.address"]


def test_the_message_says_file_path_value_and_what_was_expected() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings("clusters: [{name: east, files: nowhere}]", FILE)
    assert str(caught.value) == "mesh.yaml: clusters[0].files: got 'nowhere', expected an existing directory (nowhere is none)"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("mesh:\n  domain: [a\nclusters: []\n", 3, "YAML"),
        ("mesh: {}\nclusters: []\nmesh: {}\n", 3, "'mesh' stands twice"),
        ("clusters:\n- name: a\n  name: b\n", 3, "'name' stands twice"),
        ("mesh: {a: 1,\n\n  a: 2}", 3, "'a' stands twice"),
        ("mesh:\n\tdomain: x", 2, "YAML"),
        ("a: 1\n---\nb: 2\n", 2, "YAML"),
        ("mesh: !!python/object:os.system {}", 1, "YAML"),
        ("a: \x00", 1, "YAML"),
        ("clusters: [\n", 2, "YAML"),
        ("clusters: {", 1, "YAML"),
    ],
)
def test_a_yaml_error_is_told_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, FILE)
    assert caught.value.file == f"mesh.yaml:{line}"
    assert problem in caught.value.expected


def test_a_value_nested_ever_so_deeply_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="nested very deeply"):
        parse_settings(f"{EAST}mesh: {'[' * 3000}{']' * 3000}\n", FILE)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: got 'No such file or directory', expected a readable file"):
        read_settings(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"mesh: {domain: \xe9}")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        read_settings(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("10.20.1.9/16", "10.20.0.0/16"), ("2001:DB8:0::/32", "2001:db8::/32"), ("::ffff:10.20.0.0/112", "10.20.0.0/16"), ("::/0", "::/0")],
)
def test_address_ranges_are_canonical(written: str, canonical: str) -> None:
    text = f"mesh: {{networks: {{n: {{endpoints: [{{fromCidr: '{written}'}}]}}}}}}\n{EAST}"
    assert parse_settings(text, FILE).mesh.networks[0].endpoints[0].from_cidr == canonical


DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from(sorted(DURATIONS))), min_size=1, max_size=3))
@settings(deadline=None)
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{count}{unit}" for count, unit in parts)
    read = parse_settings(f"clusters: [{{name: a, files: ., syncTimeout: {text}}}]", FILE)
    assert read.clusters[0].sync_timeout == pytest.approx(sum(count * DURATIONS[unit] for count, unit in parts))


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mesh", "clusters", "name", "files", "networks", "endpoints", "server", "xds", "address", "port"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
@settings(deadline=None)
def test_no_document_ends_in_anything_but_settings_or_a_configuration_error(document: object) -> None:
    with suppress(ConfigError):
        parse_settings(yaml.safe_dump(document), FILE)
