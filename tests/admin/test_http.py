"""The pages of the admin address, over real sockets: what they say, and what they say of wrong questions."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from steersman.admin.http import serve_http
from steersman.admin.page import PAGES
from steersman.admin.state import SourceState, SourceStatus
from steersman.errors import ConfigError
from tests.admin.conftest import CLIENT, SECOND, Answer, Site
from tests.support.state import FakeState, api_source


def body(answer: Answer) -> Any:
    assert answer.kind == "application/json"
    return json.loads(answer.text)


def problem(answer: Answer) -> tuple[str, str]:
    error = body(answer)["error"]
    return error["cause"], error["remedy"]


async def test_ready_says_yes_or_why_not(site: Site, state: FakeState) -> None:
    assert (await site.get("/ready"))[::2] == (200, "ready\n")
    state.unready = ["files source east has not told everything yet", "the first generation is being computed"]
    assert (await site.get("/ready"))[::2] == (
        503,
        "files source east has not told everything yet\nthe first generation is being computed\n",
    )


async def test_a_server_that_is_not_ready_lives(site: Site, state: FakeState) -> None:
    state.unready = ["files source east has not told everything yet"]
    assert (await site.get("/live"))[::2] == (200, "live\n")


async def test_the_index_lists_every_page_and_every_proxy(site: Site) -> None:
    for path in ("/debug/", "/debug", "/"):
        answer = await site.get(path)
        assert (answer.status, answer.kind) == (200, "text/html")
        for page, text in PAGES:
            assert page.replace("&", "&amp;") in answer.text
            assert text.replace("&", "&amp;") in answer.text
        assert CLIENT.id in answer.text
        assert "clusters/east" in answer.text
        assert "Ready." in answer.text


async def test_each_page_of_the_index_that_needs_no_parameter_answers(site: Site) -> None:
    plain = [page for page, _ in PAGES if "?" not in page]
    assert len(plain) == 7
    assert {(await site.get(page)).status for page in plain} == {200}


async def test_the_index_escapes_what_others_wrote(site: Site, state: FakeState) -> None:
    state.unready = ["<script>alert(1)</script>"]
    state.held.append(SourceStatus(name="<i>", kind="files", place="<u>", state=SourceState.FAILED, error="<s>"))
    text = (await site.get("/debug/")).text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert [tag for tag in ("<i>", "<u>", "<s>", "<b>such") if tag in text] == []


async def test_proxies_are_listed_with_how_far_they_are(site: Site) -> None:
    found = body(await site.get("/debug/proxies"))["proxies"]
    assert [one["id"] for one in found] == [CLIENT.id, SECOND.id]
    assert {one["type"]: one["sync"] for one in found[0]["types"]} == dict.fromkeys(("cds", "eds", "lds", "rds", "sds"), "SYNCED")
    assert {one["type"]: one["sync"] for one in found[1]["types"]} == {"cds": "STALE", "eds": "ERROR"}
    assert found[1]["types"][1]["rejection"] == {
        "version": "v2",
        "code": 13,
        "message": "no <b>such</b> cluster",
        "names": ["outbound|80||a"],
        "resources": [{"name": "outbound|80||a", "version": "v2", "changed": True}],
    }
    assert (found[0]["network"], found[1]["network"]) == ("network-east", "network-west")
    assert found[0]["server"] == "pilot-0"
    assert found[0]["inferred"]


async def test_one_proxy_is_listed_by_any_name(site: Site) -> None:
    found = body(await site.get("/debug/proxies?proxy=west/client"))["proxies"]
    assert [one["id"] for one in found] == [SECOND.id]
    assert body(await site.get("/debug/proxies?proxy=nobody")) == {}


async def test_a_config_dump_has_the_resources_themselves(site: Site) -> None:
    dump = body(await site.get(f"/debug/config_dump?proxy={quote(CLIENT.id)}&type=eds"))
    assert dump["proxy"] == CLIENT.id
    assert [one["name"] for one in dump["resources"]] == [
        "outbound|15443||eastwest.istio-system.svc.cluster.local",
        "outbound|80||reviews.default.svc.cluster.local",
    ]
    reviews = dump["resources"][1]
    assert reviews["version"]
    assert reviews["resource"]["@type"] == "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    addresses = [
        member["endpoint"]["address"]["socket_address"]["address"]
        for group in reviews["resource"]["endpoints"]
        for member in group["lb_endpoints"]
    ]
    assert addresses == ["10.0.0.5", "192.0.2.2"]


async def test_a_config_dump_has_all_types_in_the_order_in_which_they_are_sent(site: Site) -> None:
    dump = body(await site.get("/debug/config_dump?proxy=east/client"))
    assert list(dict.fromkeys(one["type"] for one in dump["resources"])) == ["cds", "eds", "lds", "rds", "sds"]


async def test_explain_says_in_or_out_and_why(site: Site) -> None:
    answer = body(await site.get("/debug/explain?proxy=east/client&service=reviews:80"))
    assert answer["service"] == "reviews.default.svc.cluster.local"
    assert answer["standpoint"]["network"] == "network-east"
    rules = {one["cluster"]: (one["admitted"], one["rule"]) for one in answer["ports"][0]["candidates"]}
    assert rules == {"east": (True, "direct"), "west": (True, "via-gateway")}


async def test_findings_are_those_of_the_mesh_and_of_the_running_server(site: Site, state: FakeState) -> None:
    state.held += [
        SourceStatus(name="west", kind="files", place="clusters/west", state=SourceState.TIMED_OUT, objects=3),
        SourceStatus(name="ca", kind="ca", place="/ca", state=SourceState.FAILED, error="permission denied"),
        SourceStatus(name="far", kind="kubernetes", place="far.kubeconfig", state=SourceState.TIMED_OUT, registered="clusters.d/far"),
    ]
    found = {(one["id"], one["object"]): one for one in body(await site.get("/debug/findings"))["findings"]}
    assert {key for key in found if key[0] in ("network-without-gateway", "update-rejected", "source-not-synced", "source-failed")} == {
        ("network-without-gateway", "network network-east"),
        ("update-rejected", f"Proxy {SECOND.id}"),
        ("source-not-synced", "Cluster west"),
        ("source-not-synced", "Cluster far"),
        ("source-failed", "Source ca"),
    }
    assert " clusters[].syncTimeout" in found["source-not-synced", "Cluster west"]["remedy"]
    assert " remoteClusters.syncTimeout" in found["source-not-synced", "Cluster far"]["remedy"]
    assert "no <b>such</b> cluster" in found["update-rejected", f"Proxy {SECOND.id}"]["cause"]
    assert "permission denied" in found["source-failed", "Source ca"]["cause"]
    assert [one["severity"] for one in found.values()] == sorted(
        (one["severity"] for one in found.values()), key=("ERROR", "WARNING").index
    )


async def test_sources_show_the_server_as_well(site: Site) -> None:
    answer = body(await site.get("/debug/sources"))
    assert answer["ready"] is True
    assert answer["instance"] == "pilot-0"
    assert answer["sources"] == [{"name": "east", "kind": "files", "place": "clusters/east", "state": "SYNCED", "objects": "7"}]


async def test_clusters_show_how_each_stands(site: Site, state: FakeState) -> None:
    state.held.append(api_source())
    east, west = body(await site.get("/debug/clusters"))["clusters"]
    assert east == {"name": "east", "kind": "files", "place": "clusters/east", "state": "SYNCED", "objects": "7"}
    assert (west["state"], west["problem"], len(west["resources"])) == ("FORBIDDEN", "pods: 403: no", 3)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/debug/config_dump", 400, "'proxy' is missing"),
        ("/debug/config_dump?proxy=", 400, "'proxy' is missing"),
        ("/debug/config_dump?proxyID=x", 400, "no parameter is called 'proxyID'"),
        ("/debug/config_dump?proxy=a&proxy=b", 400, "stands twice"),
        ("/debug/config_dump?proxy=client", 400, "fits 2 proxies"),
        ("/debug/config_dump?proxy=nobody", 404, "no connected proxy is called 'nobody'"),
        ("/debug/config_dump?proxy=east/client&type=xds", 400, "no resource type is called 'xds'"),
        ("/debug/explain?proxy=east/client", 400, "'service' is missing"),
        ("/debug/explain?proxy=east/client&service=nothing", 404, "nothing"),
        ("/debug/explain?proxy=east/client&service=:80", 400, "names no service"),
        ("/debug/explain?proxy=east/client&service=reviews:81", 404, "has no port 81"),
        ("/debug/findings?all=1", 400, "no parameter is called 'all'"),
        ("/debug/nothing", 404, "GET /debug/nothing"),
    ],
)
async def test_a_wrong_question_is_answered_with_its_cause_and_a_remedy(path: str, status: int, words: str, site: Site) -> None:
    answer = await site.get(path)
    cause, remedy = problem(answer)
    assert answer.status == status
    assert words in cause
    assert remedy


async def test_only_looking_is_allowed(site: Site) -> None:
    answer = await site.get("/debug/proxies", "POST")
    assert answer.status == 405
    assert "Method Not Allowed" in problem(answer)[0]


async def test_a_bug_costs_one_answer_and_is_counted(site: Site, state: FakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[()]:
        raise ZeroDivisionError("by zero")

    with monkeypatch.context() as patch:
        patch.setattr(state, "connections", broken)
        answer = await site.get("/debug/proxies")
    assert answer.status == 500
    assert problem(answer)[0] == "ZeroDivisionError: by zero"
    assert state.counters.internal_errors == 1
    assert (await site.get("/debug/proxies")).status == 200


async def test_a_taken_address_is_the_operators_error(state: FakeState) -> None:
    runner, port = await serve_http(state, "127.0.0.1", 0)
    try:
        with pytest.raises(ConfigError, match=rf"server.admin: address: got '127.0.0.1:{port}', expected a free address"):
            await serve_http(state, "127.0.0.1", port)
    finally:
        await runner.cleanup()
