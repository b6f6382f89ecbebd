"""The commands that ask a server: tables in istioctl's manner, the same as JSON and YAML, and exit codes."""

import asyncio
import json

import pytest
import yaml

from steersman.names import CDS, EDS
from tests.admin.conftest import CLIENT, SECOND
from tests.admin.test_loads import stats
from tests.cli.conftest import Ran, inline, steersman
from tests.support import mesh as m
from tests.support.state import FakeState, channel, connection

REVIEWS = "outbound|80||reviews.default.svc.cluster.local"


async def ask(port: int, *args: str) -> Ran:
    return await inline(*args, "--server", f"127.0.0.1:{port}")


async def test_proxies_are_a_table(inspect_port: int) -> None:
    ran = await steersman("proxies", STEERSMAN_SERVER=f"127.0.0.1:{inspect_port}")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == (
        "NAME             CLUSTER   CDS      LDS      EDS      RDS      SDS      STEERSMAN   VERSION\n"
        "client.default   east      SYNCED   SYNCED   SYNCED   SYNCED   SYNCED   pilot-0     envoy 1.40.0\n"
        "client.default   west      STALE    -        ERROR    -        -        pilot-0     envoy 1.40.0\n"
        "\n"
        "client.default refused eds (13): no <b>such</b> cluster\n"
        "  outbound|80||a\n"
        "    which has changed since, or is gone\n"
    )


async def test_a_proxy_of_several_streams_is_one_row_with_what_needs_looking_at(inspect_port: int, state: FakeState) -> None:
    state.connected[0] = connection(CLIENT, channel(CDS), number=1, service="cds")
    state.connected.append(connection(CLIENT, channel(EDS, acked=False, names=1), number=3, service="eds"))
    state.connected.append(connection(CLIENT, channel(EDS, names=1), number=4, service="eds"))
    ran = await ask(inspect_port, "proxies", "east/client")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["client.default", "east", "SYNCED", "-", "STALE", "-", "-", "pilot-0", "envoy", "1.40.0"]
    ]
    ran = await ask(inspect_port, "proxies", "east/client", "-o", "json")
    assert [(one["stream"], one["service"]) for one in json.loads(ran.out)] == [("1", "cds"), ("3", "eds"), ("4", "eds")]
    ran = await ask(inspect_port, "proxy-config", "cluster", "east/client")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
async def test_one_proxy_with_all_details(form: str, load: object, inspect_port: int) -> None:
    ran = await ask(inspect_port, "ps", SECOND.id, "-o", form)
    found = load(ran.out)  # type: ignore[operator]
    assert [one["id"] for one in found] == [SECOND.id]
    assert found[0]["types"][1]["rejection"]["message"] == "no <b>such</b> cluster"


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
async def test_a_refusal_is_bad_news_for_whom_it_is_shown(form: str, inspect_port: int, state: FakeState) -> None:
    codes = [(await ask(inspect_port, "proxies", *which, "-o", form)).code for which in ([], [SECOND.id], ["east/client"])]
    assert codes == [1, 1, 0]


async def test_nobody_of_that_name_is_bad_news_and_nobody_at_all_is_not(inspect_port: int, state: FakeState) -> None:
    ran = await ask(inspect_port, "proxies", "nobody")
    assert (ran.code, ran.out, ran.err) == (1, "", "No connected proxy is called 'nobody'.\n")
    state.connected.clear()
    assert await ask(inspect_port, "proxies") == (0, "", "No proxy is connected.\n")
    assert await ask(inspect_port, "proxies", "-o", "json") == (0, "[]\n", "")


async def test_the_option_goes_before_the_environment(inspect_port: int) -> None:
    ran = await steersman("proxies", "east/client", "--server", f"127.0.0.1:{inspect_port}", STEERSMAN_SERVER="127.0.0.1:1")
    assert (ran.code, ran.err) == (0, "")


async def test_clusters_of_a_proxy(inspect_port: int) -> None:
    ran = await ask(inspect_port, "proxy-config", "cluster", "east/client")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["SERVICE", "FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE"],
        ["BlackHoleCluster", "-", "-", "-", "STATIC"],
        ["InboundPassthroughCluster", "-", "-", "-", "ORIGINAL_DST"],
        ["PassthroughCluster", "-", "-", "-", "ORIGINAL_DST"],
        ["eastwest.istio-system.svc.cluster.local", "15443", "-", "outbound", "EDS"],
        ["reviews.default.svc.cluster.local", "80", "-", "outbound", "EDS"],
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--fqdn", "reviews.default.svc.cluster.local"), [REVIEWS]),
        (("--port", "80"), [REVIEWS]),
        (("--direction", "outbound", "--port", "80"), [REVIEWS]),
        (("--direction", "inbound"), []),
        (("--subset", "v1"), []),
        (("--fqdn", "BlackHoleCluster"), ["BlackHoleCluster"]),
    ],
)
async def test_filters_of_clusters(options: tuple[str, ...], names: list[str], inspect_port: int) -> None:
    ran = await ask(inspect_port, "pc", "c", "east/client", *options, "-o", "json")
    assert [one["name"] for one in json.loads(ran.out)] == names


async def test_endpoints_of_a_proxy(inspect_port: int) -> None:
    ran = await ask(inspect_port, "pc", "ep", "east/client", "--cluster", REVIEWS)
    assert ran.out == (
        "ENDPOINT          STATUS    WEIGHT   PRIORITY   LOCALITY   CLUSTER\n"
        f"10.0.0.5:8080     HEALTHY   1        0          -          {REVIEWS}\n"
        f"192.0.2.2:15443   HEALTHY   1        0          -          {REVIEWS}\n"
    )


@pytest.mark.parametrize(
    ("options", "addresses"),
    [
        (("--address", "192.0.2.2"), ["192.0.2.2"]),
        (("--port", "8080"), ["10.0.0.5"]),
        (("--port", "8080", "--address", "192.0.2.2"), []),
        (("--status", "healthy"), ["10.0.0.5", "192.0.2.2"]),
        (("--status", "DRAINING"), []),
    ],
)
async def test_filters_of_endpoints_hold_for_every_output(options: tuple[str, ...], addresses: list[str], inspect_port: int) -> None:
    args = ("pc", "endpoints", "east/client", "--cluster", REVIEWS, *options)
    table, value = await ask(inspect_port, *args), json.loads((await ask(inspect_port, *args, "-o", "json")).out)
    assert [line.partition(":")[0] for line in table.out.splitlines()[1:]] == addresses
    members = [member for group in value[0].get("endpoints", []) for member in group["lb_endpoints"]]
    assert [member["endpoint"]["address"]["socket_address"]["address"] for member in members] == addresses


async def test_listeners_say_what_matches_and_where_it_leads(inspect_port: int) -> None:
    rows = [line.split("   ") for line in (await ask(inspect_port, "pc", "listeners", "east/client")).out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["ADDRESSES", "PORT", "MATCH", "DESTINATION"]
    assert ["0.0.0.0", "80", "App: http/1.0,http/1.1,h2c", "Route: 80"] in cells
    assert ["0.0.0.0", "80", "ALL", "Cluster: PassthroughCluster"] in cells
    assert ["0.0.0.0", "15006", "Port: 15006", "Cluster: BlackHoleCluster"] in cells
    only = await ask(inspect_port, "pc", "l", "east/client", "--port", "80", "-o", "json")
    assert [one["name"] for one in json.loads(only.out)] == ["0.0.0.0_80"]


async def test_routes_say_which_hosts_lead_where(inspect_port: int) -> None:
    ran = await ask(inspect_port, "pc", "route", "east/client", "--name", "80")
    cells = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in ran.out.splitlines()]
    assert cells[0] == ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "DESTINATION"]
    reviews = next(row for row in cells if row[1].startswith("reviews"))
    assert reviews[2].startswith("reviews.default.svc.cluster.local, ")
    assert reviews[2].endswith(" more...")
    assert reviews[3:] == ["/*", REVIEWS]


async def test_secrets_that_nobody_signed_yet_are_waiting(inspect_port: int) -> None:
    ran = await ask(inspect_port, "pc", "secret", "east/client")
    lines = [line.split() for line in ran.out.splitlines()[1:]]
    assert {tuple(line[:3]) for line in lines} <= {("ROOTCA", "-", "WAITING"), ("default", "-", "WAITING")}
    assert lines[0][:3] == ["ROOTCA", "-", "WAITING"]


async def test_all_types_are_one_object_as_render_prints_it(inspect_port: int) -> None:
    ran = await ask(inspect_port, "pc", "all", "east/client", "-o", "json")
    value = json.loads(ran.out)
    assert list(value) == ["clusters", "endpoints", "listeners", "routes", "secrets"]
    assert len(value["clusters"]) == 5
    table = await ask(inspect_port, "pc", "all", "east/client")
    assert table.out.count("\n\n") == 4


@pytest.mark.parametrize(("name", "code"), [("nobody", 1), ("client", 2)])
async def test_a_name_of_none_is_bad_news_and_one_of_several_is_wrong_use(name: str, code: int, inspect_port: int) -> None:
    for command in (("pc", "cluster", name), ("explain", name, "reviews")):
        ran = await ask(inspect_port, *command)
        assert (ran.code, ran.out) == (code, "")
        assert CLIENT.id in ran.err


async def test_explain_is_a_table_with_every_candidate(inspect_port: int) -> None:
    ran = await ask(inspect_port, "explain", "east/client", "reviews:80")
    assert (ran.code, ran.err) == (0, "")
    rows = {row[6]: row for line in ran.out.splitlines() if len(row := [cell.strip() for cell in line.split("   ") if cell.strip()]) > 8}
    assert rows["CLUSTER"][:9] == ["ENDPOINT", "IN", "RULE", "VIA", "WEIGHT", "POD", "CLUSTER", "NETWORK", "LOCALITY"]
    assert rows["east"][:4] == ["10.0.0.5:8080", "yes", "direct", "-"]
    assert rows["west"][:4] == ["10.0.0.5:8080", "yes", "via-gateway", "192.0.2.2:15443"]
    assert "SERVICE reviews.default.svc.cluster.local" in ran.out
    assert "inferred   network network-east is that of its cluster, by Cluster east" in ran.out


async def test_explain_says_what_the_proxy_reports_that_it_sends_there(inspect_port: int, state: FakeState) -> None:
    async def said() -> list[str]:
        lines = (await ask(inspect_port, "explain", "east/client", "reviews:80")).out.splitlines()
        return [" ".join(line.split()) for line in lines if "load" in line or line.startswith(("r/", "TO LOC"))]

    none = "load no load reports: this proxy has no stream for them (steersman bootstrap --load-reports)"
    assert await said() == [none]
    reporter = state.loads.join(CLIENT.id, 0.0)
    assert await said() == ["load no load reports yet"]
    now = asyncio.get_running_loop().time()
    reporter.take([stats("another", z1=(9, 9, 0, 0))], now)
    assert await said() == ["load: this proxy reports no request here in the last 10 s"]
    reporter.take([stats(REVIEWS, z1=(50, 40, 5, 5), z2=(1, 1, 0, 0), dropped={"x": 30}, total_dropped=50)], now)
    assert await said() == [
        "load, as this proxy reports it, in requests a second over the last 20 s:",
        "TO LOCALITY ISSUED SUCCEEDED FAILED IN PROGRESS",
        "r/z1 2.5 2.0 0.2 5",
        "r/z2 0.1 0.1 0.0 0",
        "load: 1.0 a second it refused itself",
        "load: 1.5 a second it refused itself, category x",
    ]
    value = json.loads((await ask(inspect_port, "explain", "east/client", "reviews:80", "-o", "json")).out)
    assert value["load_reports"].keys() == {"open", "last", "seconds"}
    assert value["ports"][0]["load"][0] == {"locality": "r/z1", "issued": 2.5, "succeeded": 2.0, "failed": 0.25, "in_progress": "5"}
    reporter.last = now - 100
    assert [line.partition(" since ")[0] for line in await said()] == ["load no load reports"]
    reporter.leave()
    assert await said() == [none]


async def test_explain_of_a_port_without_endpoints_for_the_proxy_is_bad_news(inspect_port: int, state: FakeState) -> None:
    solo = (
        m.service("east", "solo", cluster_ips=("10.96.0.9",)),
        m.pod("east", "solo-1", "10.0.0.6"),
        m.slice_of("east", "solo", "10.0.0.6=solo-1"),
    )
    state.pipeline.apply([m.fact(row) for row in solo])
    state.pipeline.settle()
    codes = {}
    for cluster in ("east", "west"):
        ran = await ask(inspect_port, "explain", f"{cluster}/client", "solo", "-o", "json")
        candidates = json.loads(ran.out)["ports"][0]["candidates"]
        codes[cluster] = (ran.code, [(one.get("admitted", False), one["rule"]) for one in candidates])
    assert codes == {"east": (0, [(True, "direct")]), "west": (1, [(False, "no-gateway")])}


@pytest.mark.parametrize(("service", "code"), [("nothing", 1), ("reviews:81", 1), (":80", 2)])
async def test_explain_of_what_is_not_there(service: str, code: int, inspect_port: int) -> None:
    ran = await ask(inspect_port, "explain", "east/client", service)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("steersman: ")
