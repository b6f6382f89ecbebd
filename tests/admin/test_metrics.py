"""Figures are read off the counters and the present state when they are asked for, under our names and Istio's."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from steersman.admin.counters import SECONDS, Histogram
from steersman.admin.metrics import Metrics
from steersman.admin.state import SourceState, SourceStatus
from steersman.model.objects import Kind
from steersman.names import CDS, EDS
from tests.admin.conftest import CLIENT, SECOND, Site
from tests.admin.test_loads import stats
from tests.support.mesh import Mesh, cluster, service
from tests.support.state import HELD, HELD_NODES, FakeState, api_source, channel, connection, refused

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(site: Site) -> Figures:
    answer = await site.get("/metrics")
    assert (answer.status, answer.kind) == (200, "text/plain")
    return dict(samples(answer.text))


def samples(text: str) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def at(found: Figures, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


async def test_counts_stand_under_both_names(site: Site, state: FakeState) -> None:
    state.counters.pushes["cds"] += 3
    state.counters.rejects["eds"] += 2
    state.counters.expired_nonces["lds"] += 1
    state.counters.heartbeats["eds"] += 2
    state.counters.internal_errors += 4
    state.counters.facts[Kind.SERVICE, "upsert"] += 5
    state.counters.facts[Kind.PROXY, "delete"] += 6
    state.counters.streams["delta"] += 7
    state.counters.closed["OK"] += 8
    found = await figures(site)
    assert at(found, "steersman_pushes_total", type="cds") == at(found, "pilot_xds_pushes", type="cds") == 3
    assert at(found, "steersman_rejects_total", type="eds") == at(found, "pilot_total_xds_rejects") == 2
    assert at(found, "steersman_heartbeats_total", type="eds") == 2
    assert at(found, "steersman_expired_nonces_total", type="lds") == at(found, "pilot_xds_expired_nonce", type="lds") == 1
    assert at(found, "steersman_internal_errors_total") == at(found, "pilot_total_xds_internal_errors") == 4
    assert at(found, "steersman_facts_total", kind="Service", event="upsert") == 5
    assert at(found, "pilot_k8s_reg_events", type="Services", event="update") == 5
    assert at(found, "steersman_facts_total", kind="Proxy", event="delete") == 6
    assert at(found, "steersman_streams_total", protocol="delta") == 7
    assert at(found, "steersman_streams_closed_total", code="OK") == 8


async def test_what_is_connected_now_is_counted_now(site: Site, state: FakeState) -> None:
    found = await figures(site)
    assert at(found, "steersman_connections", service="ads", protocol="delta", type="sidecar") == 2
    assert at(found, "pilot_xds", version="envoy 1.40.0") == 2
    assert at(found, "steersman_sync", type="cds", sync="SYNCED") == 1
    assert at(found, "steersman_sync", type="eds", sync="ERROR") == 1
    assert at(found, "pilot_xds_eds_reject", node=SECOND.id, err="Internal") == 1
    assert at(found, "pilot_xds_eds_reject", node=CLIENT.id, err="Internal") is None
    state.connected.clear()
    found = await figures(site)
    assert at(found, "steersman_connections", service="ads", protocol="delta", type="sidecar") is None
    assert at(found, "pilot_xds_eds_reject", node=SECOND.id, err="Internal") is None


async def test_a_proxy_of_several_streams_is_one_proxy(site: Site, state: FakeState) -> None:
    state.connected += [connection(CLIENT, channel(EDS, names=1), number=number, service="eds") for number in (3, 4)]
    found = await figures(site)
    assert at(found, "steersman_proxies", type="sidecar") == at(found, "pilot_xds", version="envoy 1.40.0") == 2
    assert at(found, "steersman_connections", service="ads", protocol="delta", type="sidecar") == 2
    assert at(found, "steersman_connections", service="eds", protocol="delta", type="sidecar") == 2


async def test_load_reports_are_figures_by_cluster_and_locality(site: Site, state: FakeState) -> None:
    state.loads.join("p", 0.0).take([stats("a", z1=(9, 7, 1, 3), dropped={"x": 4})], 10.0)
    found = await figures(site)
    for name, value in (
        ("issued_requests_total", 9),
        ("successful_requests_total", 7),
        ("failed_requests_total", 1),
        ("requests_in_progress", 3),
    ):
        assert at(found, f"steersman_load_{name}", cluster="a", locality="r/z1") == value
    assert at(found, "steersman_load_dropped_requests_total", cluster="a", category="x") == 4
    assert at(found, "steersman_load_reports_total") == at(found, "steersman_load_reporters") == 1
    assert at(found, "steersman_load_left_out_total") == 0


async def test_the_mesh_the_sources_and_readiness_are_figures(site: Site, state: FakeState) -> None:
    state.held.append(SourceStatus(name="ca", kind="ca", place="/ca", state=SourceState.FAILED, ignored=2))
    found = await figures(site)
    assert at(found, "steersman_services") == at(found, "pilot_services") == 2
    assert at(found, "steersman_clusters") == at(found, "istiod_managed_clusters") == 1
    assert at(found, "steersman_source_state", source="ca", kind="ca", state="failed") == 1
    assert at(found, "steersman_source_state", source="ca", kind="ca", state="synced") == 0
    assert at(found, "steersman_source_objects", source="east", kind="files") == 7
    assert at(found, "steersman_source_ignored_objects", source="ca", kind="ca") == 2
    assert at(found, "steersman_ready") == 1
    assert at(found, "steersman_generation") == state.pipeline.generation
    uptime = at(found, "steersman_uptime_seconds")
    assert uptime is not None
    assert 60 <= uptime < 120
    state.unready = ["no"]
    assert at(await figures(site), "steersman_ready") == 0


async def test_how_clusters_stand_that_are_read_from_their_api_are_figures(site: Site, state: FakeState) -> None:
    state.held.append(api_source(outage=True, held=(HELD, HELD_NODES)))
    found = await figures(site)
    assert at(found, "steersman_cluster_state", cluster="west", state="forbidden") == 1
    assert at(found, "steersman_cluster_state", cluster="west", state="synced") == 0
    assert at(found, "steersman_cluster_state", cluster="east", state="synced") is None
    age = at(found, "steersman_cluster_contact_age_seconds", cluster="west")
    assert age is not None
    assert 90 <= age < 150
    assert at(found, "steersman_cluster_outage", cluster="west", policy="demote") == 1
    assert at(found, "steersman_held_endpoints", cluster="west") == 8
    assert at(found, "steersman_cluster_resource_state", cluster="west", resource="pods", state="forbidden") == 1
    assert at(found, "steersman_cluster_resource_state", cluster="west", resource="services", state="forbidden") == 0


async def test_times_are_cumulative_histograms(site: Site, state: FakeState) -> None:
    state.counters.convergence.observe(0.004, times=3)
    state.counters.convergence.observe(0.02)
    state.counters.convergence.observe(99.0)
    found = await figures(site)
    for name in ("steersman_convergence_seconds", "pilot_proxy_convergence_time"):
        assert at(found, f"{name}_bucket", le="0.0025") == 0
        assert at(found, f"{name}_bucket", le="0.005") == 3
        assert at(found, f"{name}_bucket", le="0.025") == 4
        assert at(found, f"{name}_bucket", le="30.0") == 4
        assert at(found, f"{name}_bucket", le="+Inf") == at(found, f"{name}_count") == 5
        assert at(found, f"{name}_sum") == 0.004 * 3 + 0.02 + 99.0


async def test_the_process_is_among_the_figures_and_openmetrics_is_spoken(site: Site) -> None:
    assert (at(await figures(site), "process_resident_memory_bytes") or 0) > 0
    answer = await site.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.kind == "application/openmetrics-text"
    assert answer.text.endswith("# EOF\n")


def test_a_time_counts_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram()
    for bound in SECONDS:
        histogram.observe(bound)
    assert histogram.buckets == [1] * len(SECONDS)
    histogram.observe(SECONDS[-1] + 1)
    assert (histogram.count, sum(histogram.buckets)) == (len(SECONDS) + 1, len(SECONDS))


async def test_refused_resources_are_counted_by_object_and_most_objects_have_no_label_of_their_own() -> None:
    count = 40
    mesh = Mesh(cluster("east", "net"), *(service("east", f"s{number}") for number in range(count)), CLIENT)
    state = FakeState(mesh.pipeline)
    for number in range(count):
        name = f"outbound|80||s{number}.default.svc.cluster.local"
        state.connected += [connection(CLIENT, refused(CDS, "no", name), number=number)] * (2 if number == 7 else 1)
    text, _ = await Metrics(state).scrape("text/plain")
    found = {key[1]: value for key, value in samples(text.decode()) if key[0] == "steersman_refused_resources"}
    assert found[frozenset({("type", "cds"), ("object", "Service east/default/s7")})] == 2
    assert len(found) == 21
    assert found[frozenset({("type", "cds"), ("object", "others")})] == count - 20
    assert sum(found.values()) == count + 1
