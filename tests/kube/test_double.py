"""What is on the wire, behaviour by behaviour, seen by a plain client; where the real API server shows it too, it is held to the same.

The behaviours are numbered in docs/kubernetes-conformance.md.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.apiserver.answers import status
from tests.support.apiserver.client import PODS, SERVICES, SLICES, Client, Cluster, Stream, names, told
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Cut, Ends, Late, Pieces, Silent, Where
from tests.support.apiserver.kinds import Object, definition_of
from tests.support.objects import endpoint, pod, service, slice_of

APPLIED = {"http": (80, 8080)}
WIDGETS = "/apis/example.test/v1/widgets"
BROKEN = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError)


def of(namespace: str, path: str) -> str:
    """The path of one namespace's objects."""
    base, _, plural = path.rpartition("/")
    return f"{base}/namespaces/{namespace}/{plural}"


def some(namespace: str, *called: str, **labels: str) -> list[Object]:
    """Services."""
    made = [service(name, APPLIED, namespace=namespace) for name in called]
    for one in made:
        one["metadata"]["labels"] = labels
    return made


def widget(name: str, namespace: str, version: str = "v1") -> Object:
    return {"apiVersion": f"example.test/{version}", "kind": "Widget", "metadata": {"name": name, "namespace": namespace}, "spec": {}}


async def version_of(client: Client, path: str) -> str:
    """The resourceVersion of a list that is as new as can be."""
    return str((await client.get(path, limit=1)).json["metadata"]["resourceVersion"])


async def restarted(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.restart)


# -- 410 --------------------------------------------------------------------------------------------------------------------------


async def test_k01_a_watch_from_before_a_restart_and_a_compaction_is_told_410_in_its_stream_and_ends(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    cluster.apply(*some(namespace, "web"))
    old = await version_of(client, SERVICES)
    cluster.apply(*some(namespace, "shop"))
    cluster.compact()
    await restarted(cluster)
    async with client.watch(of(namespace, SERVICES), resourceVersion=old, timeoutSeconds=20) as stream:
        event = await stream.next()
        assert event["type"] == "ERROR"
        assert event["object"]["kind"] == "Status"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert event["object"]["message"].startswith(f"too old resource version: {old} (")
        assert await stream.rest() == b""


async def test_k02_a_watch_may_be_told_410_as_its_http_status(double: Double, client: Client) -> None:
    double.manners.expired_status = True
    double.do(double.store.tick)
    double.restart()
    answer = await client.get(SERVICES, watch=True, resourceVersion=1)
    assert (answer.status, answer.json["reason"]) == (410, "Expired")


async def test_k02_a_list_of_an_exact_version_that_is_compacted_is_told_410(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "web"))
    old = await version_of(client, SERVICES)
    cluster.apply(*some(namespace, "shop"))
    cluster.compact()
    await restarted(cluster)
    answer = await client.get(SERVICES, resourceVersion=old, resourceVersionMatch="Exact", limit=1)
    assert (answer.status, answer.json["reason"], answer.json["code"]) == (410, "Expired", 410)


async def test_k03_a_watch_goes_on_from_an_old_version_after_a_compaction(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "web"))
    old = await version_of(client, SERVICES)
    cluster.apply(*some(namespace, "shop"))
    cluster.compact()
    async with client.watch(of(namespace, SERVICES), resourceVersion=old, timeoutSeconds=20) as stream:
        assert told(await stream.take(1)) == [("ADDED", "shop")]


async def test_k04_a_continue_token_is_served_from_a_snapshot_after_a_compaction(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "a", "b", "c"))
    first = (await client.get(of(namespace, SERVICES), limit=2)).json
    cluster.apply(*some(namespace, "bb"))
    cluster.compact()
    second = await client.get(of(namespace, SERVICES), limit=2, continue_=first["metadata"]["continue"])
    assert second.status == 200
    assert second.json["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert names(second.json) == ["c"]


async def test_k04_an_expired_continue_token_gives_410_with_a_fresh_one_of_another_version(double: Double, client: Client) -> None:
    double.manners.snapshots = False
    double.apply(*some("demo", "a", "b", "c"))
    first = (await client.get(SERVICES, limit=2)).json
    double.apply(*some("demo", "bb", "d"))
    double.compact()
    refused = await client.get(SERVICES, limit=2, continue_=first["metadata"]["continue"])
    assert (refused.status, refused.json["reason"]) == (410, "Expired")
    rest = (await client.get(SERVICES, limit=5, continue_=refused.json["metadata"]["continue"])).json
    assert names(rest) == ["c", "d"]
    assert rest["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


# -- lists ------------------------------------------------------------------------------------------------------------------------


async def test_k05_pages_are_of_one_version_whatever_is_changed_between_them(cluster: Cluster, client: Client, namespace: str) -> None:
    path = of(namespace, SERVICES)
    cluster.apply(*some(namespace, "a", "b", "c", "d", "e"))
    first = (await client.get(path, limit=2)).json
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    cluster.delete("Service", "c", namespace)
    cluster.apply(*some(namespace, "dd"))
    second = (await client.get(path, limit=2, continue_=first["metadata"]["continue"])).json
    assert (names(second), second["metadata"]["remainingItemCount"]) == (["c", "d"], 1)
    last = (await client.get(path, limit=2, continue_=second["metadata"]["continue"])).json
    assert names(last) == ["e"]
    assert "continue" not in last["metadata"]
    assert "remainingItemCount" not in last["metadata"]
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, last)}) == 1


async def test_k05_a_selected_list_says_not_how_many_remain(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "a", "b", "c", tier="front"))
    first = (await client.get(of(namespace, SERVICES), limit=2, labelSelector="tier=front")).json
    assert "continue" in first["metadata"]
    assert "remainingItemCount" not in first["metadata"]


# -- bookmarks and WatchList ------------------------------------------------------------------------------------------------------


async def test_k06_a_bookmark_has_a_version_its_kinds_empty_fields_and_no_name(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "web"))
    for path, kind, empty in (
        (SLICES, "EndpointSlice", {"addressType": "", "endpoints": None, "ports": None}),
        (SERVICES, "Service", {"spec": {}, "status": {"loadBalancer": {}}}),
        (PODS, "Pod", {"spec": {"containers": None}, "status": {}}),
    ):
        bookmark = (await bookmarked(client, of(namespace, path)))["object"]
        version = bookmark["metadata"].pop("resourceVersion")
        assert int(version) > 0
        assert "name" not in bookmark["metadata"]
        del bookmark["metadata"]
        assert bookmark == {"kind": kind, "apiVersion": bookmark["apiVersion"], **empty}


async def test_k06_no_bookmark_comes_unless_it_is_allowed(double: Double, client: Client) -> None:
    async with (
        client.watch(SERVICES, resourceVersion=double.store.rv) as unasked,
        client.watch(SERVICES, resourceVersion=double.store.rv, allowWatchBookmarks=True) as asked,
    ):
        double.bookmark()
        assert (await asked.next())["type"] == "BOOKMARK"
        assert await unasked.silent(0.1)


async def bookmarked(client: Client, path: str) -> Any:
    """The bookmark that ends a WatchList."""
    query = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True, "timeoutSeconds": 20}
    async with client.watch(path, **query) as stream:
        return (await stream.until("BOOKMARK"))[-1]


async def test_k07_a_watch_list_tells_what_is_there_then_its_mark_then_what_comes(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "a", "b"))
    query = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True, "timeoutSeconds": 20}
    async with client.watch(of(namespace, SERVICES), **query) as stream:
        *initial, mark = await stream.until("BOOKMARK")
        assert sorted(told(initial)) == [("ADDED", "a"), ("ADDED", "b")]
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        cluster.apply(*some(namespace, "c"))
        assert told(await stream.take(1)) == [("ADDED", "c")]


async def test_k08_a_server_without_watch_list_refuses_it_with_422(double: Double, client: Client) -> None:
    double.manners.watch_list = False
    answer = await client.get(SERVICES, watch=True, sendInitialEvents=True, resourceVersionMatch="NotOlderThan")
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["details"]["causes"][0]["field"] == "sendInitialEvents"


async def test_k08_a_watch_list_that_does_not_say_which_version_will_do_is_refused_with_422(cluster: Cluster, client: Client) -> None:
    answer = await client.get(SERVICES, watch=True, sendInitialEvents=True)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["details"]["causes"][0]["field"] == "resourceVersionMatch"


# -- resourceVersions -------------------------------------------------------------------------------------------------------------


async def test_k09_a_list_of_no_version_is_the_newest_and_versions_are_shared_by_all_kinds(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    (web,) = cluster.apply(*some(namespace, "web"))
    slices = (await client.get(SLICES)).json["metadata"]["resourceVersion"]
    assert int(slices) >= int(web["metadata"]["resourceVersion"])
    (shop,) = cluster.apply(*some(namespace, "shop"))
    assert int(shop["metadata"]["resourceVersion"]) > int(slices)
    assert names((await client.get(of(namespace, SERVICES))).json) == ["shop", "web"]


async def test_k09_a_list_of_version_zero_comes_whole_whatever_its_limit(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "a", "b", "c"))
    listed = (await client.get(of(namespace, SERVICES), limit=2, resourceVersion="0")).json
    assert names(listed) == ["a", "b", "c"]
    assert "continue" not in listed["metadata"]


async def test_k09_a_list_of_version_zero_may_be_older_than_what_was_seen(double: Double, client: Client) -> None:
    double.apply(*some("demo", "web"))
    double.hold("services")
    double.apply(*some("demo", "shop"))
    newest, cached = (await client.get(SERVICES)).json, (await client.get(SERVICES, resourceVersion="0")).json
    assert (names(newest), names(cached)) == (["shop", "web"], ["web"])
    assert int(cached["metadata"]["resourceVersion"]) < int(newest["metadata"]["resourceVersion"])


async def test_k10_a_list_from_the_future_is_told_504_and_to_come_again(cluster: Cluster, client: Client) -> None:
    answer = await client.get(SERVICES, resourceVersion=10**9, resourceVersionMatch="NotOlderThan")
    assert (answer.status, answer.json["reason"]) == (504, "Timeout")
    details = answer.json["details"]
    assert (details["retryAfterSeconds"], details["causes"][0]["reason"]) == (1, "ResourceVersionTooLarge")
    assert answer.headers["Retry-After"] == "1"


async def test_k10_a_watch_from_the_future_hangs(cluster: Cluster, client: Client, namespace: str) -> None:
    async with client.watch(of(namespace, SERVICES), resourceVersion=10**9, timeoutSeconds=20) as stream:
        cluster.apply(*some(namespace, "web"))
        assert await stream.silent(0.5)


async def test_k11_a_malformed_version_of_a_watch_is_told_500_by_a_status_without_a_reason(cluster: Cluster, client: Client) -> None:
    answer = await client.get(SERVICES, watch=True, resourceVersion="yesterday", timeoutSeconds=5)
    assert answer.status == 500
    assert answer.json["kind"] == "Status"
    assert "reason" not in answer.json


async def test_k11_a_malformed_version_or_token_of_a_list_is_told_400(cluster: Cluster, client: Client) -> None:
    for answer in (await client.get(SERVICES, resourceVersion="yesterday"), await client.get(SERVICES, continue_="elsewhere")):
        assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


# -- how streams end --------------------------------------------------------------------------------------------------------------


async def test_k12_a_watch_whose_time_is_over_ends_properly_without_a_word(cluster: Cluster, client: Client, namespace: str) -> None:
    began = time.monotonic()
    async with client.watch(of(namespace, SERVICES), resourceVersion=await version_of(client, SERVICES), timeoutSeconds=1) as stream:
        assert await stream.rest() == b""
    assert 0.9 < time.monotonic() - began < 15


@pytest.mark.parametrize("where", [Where.CHUNK, Where.RESET, Where.UNENDED])
async def test_k13_a_watch_is_cut_and_the_client_knows(double: Double, client: Client, where: Where) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.disturb(Cut(where, after=1))
        double.apply(*some("demo", "a", "b"))
        assert told(await stream.take(1)) == [("ADDED", "a")]
        with pytest.raises(BROKEN):
            await stream.rest()


async def test_k13_a_line_is_cut_and_the_answer_ends_properly_all_the_same(double: Double, client: Client) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.disturb(Cut(Where.LINE))
        double.apply(*some("demo", "a"))
        rest = await stream.rest()
        assert rest.startswith(b'{"type":"ADDED","object":{"kind":"Service"')
        assert not rest.endswith(b"}\n")


@pytest.mark.parametrize("where", [Where.CHUNK, Where.RESET])
async def test_k13_a_list_is_cut_in_its_middle(double: Double, client: Client, where: Where) -> None:
    with double.script(Cut(where), verb="list"), pytest.raises(BROKEN):
        await client.get(SERVICES)
    assert (await client.get(SERVICES)).status == 200


async def test_k14_a_watch_goes_silent_with_its_connection_open(double: Double, client: Client) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.disturb(Silent())
        double.apply(*some("demo", "a"))
        assert await stream.silent(0.3)


async def test_k14_a_stopped_server_says_nothing_and_goes_on_later(cluster: Cluster, client: Client, namespace: str) -> None:
    async with client.watch(of(namespace, SERVICES), resourceVersion=await version_of(client, SERVICES), timeoutSeconds=60) as stream:
        cluster.freeze()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get(SERVICES), 0.5)
            assert await stream.silent(0.1)
        finally:
            cluster.thaw()
        cluster.apply(*some(namespace, "a"))
        assert told(await stream.take(1)) == [("ADDED", "a")]


async def test_k14_headers_come_late_or_never(double: Double, client: Client) -> None:
    with double.script(Late(0.3)):
        began = time.monotonic()
        assert (await client.get(SERVICES)).status == 200
        assert time.monotonic() - began >= 0.3
    with double.script(Silent()), pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get(SERVICES), 0.3)


async def test_k15_one_event_comes_in_many_chunks_slowly(double: Double, client: Client) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.disturb(Pieces(size=16, pause=0.001))
        double.apply(*some("demo", "a"))
        pieces = [await asyncio.wait_for(stream.response.content.readany(), 5) for _ in range(5)]
        assert all(piece and b"\n" not in piece for piece in pieces)
        assert b"".join(pieces).startswith(b'{"type":"ADDED"')


async def test_k15_many_events_come_in_one_chunk(double: Double, client: Client) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.hold("services")
        double.apply(*some("demo", *(f"s{number}" for number in range(50))))
        assert await stream.silent(0.1)
        double.release("services")
        chunk, _ = await asyncio.wait_for(stream.response.content.readchunk(), 5)
        assert chunk.count(b"\n") == 50


async def test_k15_a_line_of_megabytes_comes_whole(cluster: Cluster, client: Client, namespace: str) -> None:
    path = of(namespace, SLICES)
    entries = [endpoint(f"{'long-name-' * 12}{number}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(1000)]
    for entry in entries:
        entry["hostname"] = entry["nodeName"] = "h" * 60
        entry["hints"] = {"forZones": [{"name": f"zone-{'z' * 50}-{number}"} for number in range(8)]}
    async with client.watch(path, resourceVersion=await version_of(client, SLICES), timeoutSeconds=30) as stream:
        cluster.apply(slice_of("web", {"http": 8080}, entries, namespace=namespace))
        event = await stream.next()
        assert len(event["object"]["endpoints"]) == 1000
        assert len(str(event)) > 900_000


async def test_k16_a_client_that_reads_too_slowly_loses_its_watch(double: Double, client: Client) -> None:
    double.manners.backlog, double.manners.send_buffer = 20, 4096
    async with client.watch(SLICES, resourceVersion=double.store.rv) as stream:
        entries = [endpoint(f"web-{number}", f"10.1.0.{number + 1}") for number in range(250)]
        for number in range(400):
            entries[0] = endpoint("web-0", "10.1.0.1", ready=number % 2 == 0)
            double.apply(slice_of("web", {"http": 8080}, entries))
        lines = (await stream.rest()).splitlines()
        assert 20 < len(lines) < 400


# -- refusals ---------------------------------------------------------------------------------------------------------------------


async def test_k17_the_first_watch_of_a_new_definition_is_told_429_and_when_to_come_again(double: Double, client: Client) -> None:
    double.apply(definition_of("example.test", ("v1",), "widgets", "Widget"))
    assert (await client.get(WIDGETS)).status == 200
    refused = await client.get(WIDGETS, watch=True)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json["message"] == "storage is (re)initializing"
    assert refused.json["details"]["retryAfterSeconds"] == 1
    async with client.watch(WIDGETS, timeoutSeconds=1) as stream:
        assert await stream.rest() == b""


async def test_k17_a_server_that_has_too_much_to_do_says_when_to_come_again(double: Double, client: Client) -> None:
    overload = Answer(429, b"Too many requests, please try again later.\n", "text/plain; charset=utf-8", {"Retry-After": "1"})
    with double.script(overload, times=2):
        assert [(await client.get(SERVICES)).status for _ in range(3)] == [429, 429, 200]


async def test_k18_a_list_fails_in_the_middle_of_its_pages(double: Double, client: Client) -> None:
    double.apply(*some("demo", "a", "b", "c"))
    first = (await client.get(SERVICES, limit=2)).json
    with double.script(Answer(500, status(500, "InternalError", "etcdserver: leader changed")), verb="list"):
        assert (await client.get(SERVICES, limit=2, continue_=first["metadata"]["continue"])).status == 500
    assert names((await client.get(SERVICES, limit=2, continue_=first["metadata"]["continue"])).json) == ["c"]
    starting = Answer(503, b"starting\n", "text/plain")
    with double.script(starting, times=None):
        assert [(await client.get(path)).status for path in (SERVICES, "/apis", "/version")] == [503, 503, 503]


async def test_k19_one_resource_is_forbidden_while_others_are_not_until_it_is_granted(cluster: Cluster, client: Client) -> None:
    cluster.forbid("services")
    try:
        refused = await until_status(client, SERVICES, 403)
        assert refused.json["reason"] == "Forbidden"
        assert refused.json["message"].startswith("services is forbidden: User ")
        assert 'cannot list resource "services" in API group "" at the cluster scope' in refused.json["message"]
        assert refused.json["details"] == {"kind": "services"}
        assert (await client.get(SLICES)).status == 200
    finally:
        cluster.permit("services")
    await until_status(client, SERVICES, 200)


async def test_k20_an_expired_token_is_refused_while_its_watches_go_on_and_a_new_one_heals(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    """The real server remembers for ten seconds that a token was good: one that it has not seen before is refused at once."""
    token, unseen = cluster.issue(), cluster.issue()
    async with (
        Client(cluster, token) as doomed,
        Client(cluster, unseen) as other,
        doomed.watch(of(namespace, SERVICES), resourceVersion=await version_of(client, SERVICES), timeoutSeconds=120) as stream,
    ):
        cluster.expire()
        refused = await until_status(other, SERVICES, 401)
        assert refused.json["message"] == refused.json["reason"] == "Unauthorized"
        cluster.apply(*some(namespace, "web"))
        assert told(await stream.take(1)) == [("ADDED", "web")]
        cluster.token = cluster.issue()
        async with Client(cluster) as renewed:
            assert (await renewed.get(SERVICES)).status == 200


async def until_status(client: Client, path: str, wanted: int, seconds: float = 30.0) -> Any:
    """The answer, as soon as it has this status: what is changed of who may ask for what takes the real server a moment."""
    deadline = time.monotonic() + seconds
    while (answer := await client.get(path)).status != wanted:
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)
    return answer


async def test_k19_who_may_not_read_a_resource_is_told_so_though_there_is_none(cluster: Cluster, client: Client) -> None:
    cluster.forbid("gadgets")
    try:
        answer = await client.get("/apis/nobody.test/v1/gadgets")
        assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
        assert answer.json["details"] == {"group": "nobody.test", "kind": "gadgets"}
    finally:
        cluster.permit("gadgets")


async def test_k21_what_is_not_defined_is_not_found_in_plain_text_or_by_a_status_in_a_group_of_the_servers_own(cluster: Cluster) -> None:
    async with Client(cluster, cluster.admin) as admin:
        undefined = await admin.get("/apis/nobody.test/v1/gadgets")
        assert (undefined.status, undefined.text) == (404, "404 page not found\n")
        assert undefined.headers["Content-Type"].startswith("text/plain")
        for path in ("/apis/discovery.k8s.io/v1/gadgets", "/api/v1/gadgets"):
            answer = await admin.get(path)
            assert (answer.status, answer.json["reason"], answer.json.get("details", {})) == (
                404,
                "NotFound",
                {},
            )


async def test_k21_a_definition_comes_and_goes_and_its_watches_end(cluster: Cluster, client: Client, namespace: str) -> None:
    group, path = f"{namespace}.example.test", f"/apis/{namespace}.example.test/v1/widgets"
    cluster.apply(definition_of(group, ("v1",), "widgets", "Widget"))
    await until_status(client, path, 200)
    cluster.apply({**widget("one", namespace), "apiVersion": f"{group}/v1"})
    rv = await version_of(client, path)
    async with await opened(client, path, rv) as stream:
        cluster.delete("CustomResourceDefinition", f"widgets.{group}")
        assert told([await stream.next()]) == [("DELETED", "one")]
        assert await stream.rest() == b""
    await until_status(client, path, 404)


async def opened(client: Client, path: str, rv: str) -> Any:
    """A watch, as soon as it is not told to come again."""
    deadline = time.monotonic() + 20
    while True:
        try:
            stream = client.watch(path, resourceVersion=rv, timeoutSeconds=60)
            entered = await stream.__aenter__()
        except AssertionError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        else:
            return _Entered(stream, entered)


class _Entered:
    def __init__(self, manager: Any, stream: Stream) -> None:
        self._manager, self._stream = manager, stream

    async def __aenter__(self) -> Stream:
        return self._stream

    async def __aexit__(self, *error: object) -> None:
        await self._manager.__aexit__(*error)


async def test_k21_the_served_version_changes_and_the_old_one_is_gone(cluster: Cluster, client: Client, namespace: str) -> None:
    group = f"{namespace}.example.test"
    old, new = (f"/apis/{group}/{version}/widgets" for version in ("v1beta1", "v1"))
    cluster.apply(definition_of(group, ("v1beta1",), "widgets", "Widget"))
    await until_status(client, old, 200)
    cluster.apply({**widget("one", namespace), "apiVersion": f"{group}/v1beta1"})
    cluster.apply(definition_of(group, ("v1",), "widgets", "Widget", unserved=("v1beta1",)))
    item = (await until_status(client, new, 200)).json["items"][0]
    assert (item["apiVersion"], item["metadata"]["name"]) == (f"{group}/v1", "one")
    await until_status(client, old, 404)


# -- what happened meanwhile ------------------------------------------------------------------------------------------------------


async def test_k22_what_was_deleted_before_a_restart_is_only_missing_from_the_next_list(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    cluster.apply(*some(namespace, "a", "b"))
    old = await version_of(client, SERVICES)
    cluster.delete("Service", "a", namespace)
    await restarted(cluster)
    async with client.watch(of(namespace, SERVICES), resourceVersion=old, timeoutSeconds=20) as stream:
        assert [event["type"] for event in await stream.take(1)] == ["ERROR"]
    assert names((await client.get(of(namespace, SERVICES))).json) == ["b"]


async def test_k23_what_was_made_again_has_another_uid_and_its_deletion_tells_the_last_state_and_a_newer_version(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    (first,) = cluster.apply(*some(namespace, "web", tier="front"))
    async with client.watch(of(namespace, SERVICES), resourceVersion=await version_of(client, SERVICES), timeoutSeconds=20) as stream:
        cluster.delete("Service", "web", namespace)
        (second,) = cluster.apply(*some(namespace, "web"))
        deleted, added = await stream.take(2)
    assert told([deleted, added]) == [("DELETED", "web"), ("ADDED", "web")]
    metadata = deleted["object"]["metadata"]
    assert (metadata["uid"], metadata["labels"]) == (first["metadata"]["uid"], {"tier": "front"})
    assert int(metadata["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_k24_what_leaves_a_selector_is_deleted_and_what_enters_it_added(cluster: Cluster, client: Client, namespace: str) -> None:
    query = {"labelSelector": "tier=front", "resourceVersion": await version_of(client, SERVICES), "timeoutSeconds": 20}
    async with client.watch(of(namespace, SERVICES), **query) as stream:
        cluster.apply(*some(namespace, "web", tier="back"))
        cluster.apply(*some(namespace, "web", tier="front"))
        cluster.apply(*some(namespace, "web", tier="front", more="so"))
        cluster.apply(*some(namespace, "web", tier="back"))
        events = await stream.take(3)
    assert told(events) == [("ADDED", "web"), ("MODIFIED", "web"), ("DELETED", "web")]
    assert events[-1]["object"]["metadata"]["labels"] == {"tier": "front", "more": "so"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_k24_fields_select_too(cluster: Cluster, client: Client, namespace: str) -> None:
    cluster.apply(*some(namespace, "a", "b"))
    assert names((await client.get(of(namespace, SERVICES), fieldSelector="metadata.name=b")).json) == ["b"]
    assert names((await client.get(of(namespace, SERVICES), fieldSelector="metadata.name!=b")).json) == ["a"]


async def test_k25_a_watch_from_an_older_version_tells_again_what_was_told(cluster: Cluster, client: Client, namespace: str) -> None:
    old = await version_of(client, SERVICES)
    cluster.apply(*some(namespace, "a"))
    cluster.apply(*some(namespace, "a", tier="front"))
    for _ in range(2):
        async with client.watch(of(namespace, SERVICES), resourceVersion=old, timeoutSeconds=20) as stream:
            assert told(await stream.take(2)) == [("ADDED", "a"), ("MODIFIED", "a")]


async def test_k25_a_write_that_changes_nothing_is_no_event(cluster: Cluster, client: Client, namespace: str) -> None:
    (first,) = cluster.apply(*some(namespace, "a"))
    (again,) = cluster.apply(*some(namespace, "a"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_k26_a_deletion_that_waits_for_a_finalizer_is_a_modification_first(cluster: Cluster, client: Client, namespace: str) -> None:
    (web,) = some(namespace, "web")
    web["metadata"]["finalizers"] = ["example.test/held"]
    cluster.apply(web)
    async with client.watch(of(namespace, SERVICES), resourceVersion=await version_of(client, SERVICES), timeoutSeconds=20) as stream:
        cluster.delete("Service", "web", namespace)
        (marked,) = await stream.take(1)
        assert marked["type"] == "MODIFIED"
        assert marked["object"]["metadata"]["deletionTimestamp"]
        web["metadata"]["finalizers"] = []
        cluster.apply(web)
        assert told(await stream.take(1)) == [("DELETED", "web")]


async def test_k27_items_of_lists_have_no_kind_unless_they_are_custom(cluster: Cluster, client: Client, namespace: str) -> None:
    group = f"{namespace}.example.test"
    cluster.apply(*some(namespace, "web"), definition_of(group, ("v1",), "widgets", "Widget"))
    path = f"/apis/{group}/v1/widgets"
    await until_status(client, path, 200)
    cluster.apply({**widget("one", namespace), "apiVersion": f"{group}/v1"})
    listed = (await client.get(of(namespace, SERVICES))).json
    assert (listed["kind"], listed["apiVersion"]) == ("ServiceList", "v1")
    assert not {"kind", "apiVersion"} & listed["items"][0].keys()
    assert (await client.get(path)).json["items"][0]["kind"] == "Widget"
    async with client.watch(of(namespace, SERVICES), timeoutSeconds=20) as stream:
        assert (await stream.next())["object"]["kind"] == "Service"


async def test_k27_the_items_of_an_empty_list_may_be_null(double: Double, client: Client) -> None:
    assert (await client.get(SERVICES)).json["items"] == []
    double.manners.null_items = True
    assert (await client.get(SERVICES)).json["items"] is None


async def test_k28_a_large_list_is_packed_for_who_takes_that(cluster: Cluster, client: Client, namespace: str) -> None:
    for number in range(6):
        entries = [endpoint(f"web-{number}-{place}", f"10.{number}.{place // 250}.{place % 250 + 1}") for place in range(200)]
        cluster.apply(slice_of("web", {"http": 8080}, entries, suffix=str(number), namespace=namespace))
    path = of(namespace, SLICES)
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = await client.get(path)
    assert "Content-Encoding" not in plain.headers
    assert len(plain.text) > 128 * 1024
    small = await client.get(of(namespace, SERVICES), headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


async def test_k29_one_kind_goes_on_while_another_stays_behind(double: Double, client: Client) -> None:
    old = double.store.rv
    double.apply(*some("demo", "web"), slice_of("web", {"http": 8080}, []))
    async with client.watch(SLICES, resourceVersion=old) as slices, client.watch(SERVICES, resourceVersion=old) as services:
        assert told(await slices.take(1) + await services.take(1)) == [("ADDED", "web-1"), ("ADDED", "web")]
        double.hold("endpointslices")
        double.apply(*some("demo", "shop"), slice_of("shop", {"http": 8080}, []), pod("shop-1", "10.0.0.1"))
        assert told(await services.take(1)) == [("ADDED", "shop")]
        assert await slices.silent(0.1)
        assert names((await client.get(SLICES, resourceVersion="0")).json) == ["web-1"]
        double.release("endpointslices")
        assert told(await slices.take(1)) == [("ADDED", "shop-1")]


async def test_k30_another_cluster_stands_behind_the_same_address(double: Double, client: Client) -> None:
    async def uid(one: Client) -> str:
        return str((await one.get("/api/v1/namespaces/kube-system")).json["metadata"]["uid"])

    double.apply(*some("demo", "web"))
    before, version = await uid(client), await version_of(client, SERVICES)
    double.replace()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await client.get(SERVICES)
    async with Client(double) as renewed:
        assert await uid(renewed) != before
        assert names((await renewed.get(SERVICES)).json) == []
        assert int(await version_of(renewed, SERVICES)) < int(version)


# -- the double's own ------------------------------------------------------------------------------------------------------------


async def test_discovery_names_the_groups_their_versions_and_resources(cluster: Cluster, client: Client) -> None:
    groups = {group["name"]: group for group in (await client.get("/apis")).json["groups"]}
    assert groups["discovery.k8s.io"]["preferredVersion"] == {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
    listed = (await client.get("/apis/discovery.k8s.io/v1")).json
    (slices,) = (one for one in listed["resources"] if one["name"] == "endpointslices")
    assert (slices["kind"], slices["namespaced"]) == ("EndpointSlice", True)
    assert {"list", "watch"} <= set(slices["verbs"])
    assert (await client.get("/api")).json["versions"] == ["v1"]
    assert (await client.get("/readyz")).text == "ok"


async def test_a_faulty_end_is_as_scripted(double: Double, client: Client) -> None:
    async with client.watch(SERVICES, resourceVersion=double.store.rv) as stream:
        double.disturb(Ends(last={"type": "BOOKMARK", "object": {}}))
        assert await stream.rest() == b'{"type":"BOOKMARK","object":{}}\n'


async def test_a_client_that_trusts_another_authority_is_not_served(double: Double, tmp_path: Path) -> None:
    with Double() as other:
        double.ca, own = other.ca, double.ca
        async with Client(double) as client:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await client.get(SERVICES)
        double.ca = own
