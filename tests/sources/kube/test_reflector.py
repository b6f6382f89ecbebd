"""The protocol of one resource, as transcripts: what is asked for next, after what was answered."""

import pytest

from steersman.sources import shapes
from steersman.sources.kube import wire
from steersman.sources.kube.reflector import Action, Begin, Change, Complete, Get, Pause, Put, Reflector, Remove, Renew, Standing, Watch
from steersman.sources.kube.timing import Timing
from tests.sources.kube.answers import bookmark, error, event, groups, page, pod, resource, served, status

TIMING = Timing(backoff_first=1.0, backoff_last=8.0, missing=10.0, watch=(290, 580), short=1.0)
NOT_FOUND = b"404 page not found\n"
EXPIRED = status(410, "The provided continue parameter is too old", metadata={"continue": "fresh"})


class Transcript:
    """A reflector with its clock: `now` moves only when a test moves it. Half of each wait is chance; here all of it is waited for."""

    def __init__(self, name: str = "pods", chance: float = 1.0 - 1e-9) -> None:
        self.reflector = Reflector(resource(name), TIMING, lambda: chance, wire.Events(shapes.Pod))
        self.now = 1000.0

    def next(self) -> Action:
        return self.reflector.next(self.now)

    def asked(self) -> str:
        """The next action, short: `GET PATH QUERY` with what always differs left out."""
        match self.next():
            case Get(path, query):
                return " ".join(["GET", path, *(f"{key}={value}" for key, value in query)])
            case Watch(path, query):
                told = [f"{key}={value}" for key, value in query if key not in ("watch", "allowWatchBookmarks", "timeoutSeconds")]
                return " ".join(["WATCH", path, *told])
            case Pause(until):
                return f"PAUSE {until - self.now:.3g}"
            case Renew():
                return "RENEW"

    def after(self, seconds: float) -> "Transcript":
        self.now += seconds
        return self

    def waited(self) -> str:
        """What is asked for when a pause is over."""
        action = self.next()
        assert isinstance(action, Pause), action
        self.now = action.until
        return self.asked()

    def answered(self, body: bytes) -> list[str]:
        return said(list(self.reflector.answered(self.now, body)))

    def opened(self) -> list[str]:
        return said(self.reflector.opened(self.now))

    def line(self, line: bytes) -> list[str]:
        change = self.reflector.line(self.now, line)
        return said([] if change is None else [change])

    def refused(self, code: int, body: bytes = b"", retry_after: float = 0.0) -> None:
        self.reflector.refused(self.now, code, body, retry_after)

    def ended(self, why: str = "") -> None:
        self.reflector.ended(self.now, why)

    @property
    def standing(self) -> Standing:
        return self.reflector.standing

    def synced(self, version: int = 10) -> "Transcript":
        """Told everything by a WatchList, which goes on as a watch."""
        assert self.asked() == LIST_BY_WATCH
        self.opened()
        self.line(bookmark(version, end=True))
        assert self.standing is Standing.SYNCED
        return self


LIST_BY_WATCH = "WATCH /api/v1/pods sendInitialEvents=true resourceVersionMatch=NotOlderThan"
LIST = "GET /api/v1/pods limit=100"


def said(changes: list[Change]) -> list[str]:
    words = []
    for change in changes:
        match change:
            case Begin():
                words.append("begin")
            case Put(body):
                words.append(f"put {wire.head(body).name}")
            case Remove(head):
                words.append(f"remove {head.name}")
            case Complete():
                words.append("complete")
    return words


# -- everything at first ------------------------------------------------------------------------------------------------------


def test_everything_is_told_by_a_watch_list_which_goes_on_as_a_watch() -> None:
    told = Transcript()
    assert told.asked() == LIST_BY_WATCH
    assert told.standing is Standing.SYNCING
    assert told.opened() == ["begin"]
    assert told.line(event("ADDED", pod("a", 5))) == ["put a"]
    assert not told.reflector.whole
    assert told.line(bookmark(7)) == []  # one that says nothing of the end
    assert told.line(bookmark(9, end=True)) == ["complete"]
    assert (told.standing, told.reflector.whole) == (Standing.SYNCED, True)
    assert told.line(event("MODIFIED", pod("a", 11))) == ["put a"]
    assert told.line(event("DELETED", pod("a", 12))) == ["remove a"]
    told.after(300).ended()
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=12"


@pytest.mark.parametrize("code", [400, 422])
def test_a_server_without_watch_lists_is_asked_for_pages_and_not_again(code: int) -> None:
    told = Transcript()
    told.next()
    told.refused(code, status(code, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"))
    assert told.asked() == LIST
    assert told.answered(page(pod("a", 5), version=10)) == ["begin", "put a", "complete"]
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"
    told.opened()
    told.line(error(410, "too old resource version: 10 (99)"))
    assert told.asked() == "GET /api/v1/pods limit=2000"  # pages grow with what fits


def test_pages_follow_each_other_and_only_the_last_completes() -> None:
    told = by_pages()
    assert told.answered(page(pod("a", 5), more="two")) == ["begin", "put a"]
    assert told.asked() == "GET /api/v1/pods limit=2000 continue=two"
    assert told.answered(page(pod("b", 6), more="three")) == ["put b"]
    assert told.answered(page(version=10)) == ["complete"]
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"


def test_a_list_whose_items_are_null_is_empty() -> None:
    told = by_pages()
    assert told.answered(b'{"metadata": {"resourceVersion": "4"}, "items": null}') == ["begin", "complete"]


def test_the_limit_follows_the_size_of_objects() -> None:
    told = by_pages()
    large = pod("a", 5)
    large["metadata"]["managedFields"] = "x" * 100_000
    told.answered(page(*[large] * 100, more="two"))
    assert told.asked() == "GET /api/v1/pods limit=20 continue=two"


def by_pages() -> Transcript:
    told = Transcript()
    told.next()
    told.refused(422, status(422))
    assert told.asked() == LIST
    return told


def test_a_watch_list_that_ends_before_its_mark_is_followed_by_pages() -> None:
    told = Transcript()
    told.next()
    told.opened()
    told.line(event("ADDED", pod("a", 5)))
    told.after(400).ended()
    assert (told.standing, told.waited()) == (Standing.FAILING, LIST)
    assert told.answered(page(pod("a", 5))) == ["begin", "put a", "complete"]
    told.asked()
    told.opened()
    told.after(60).line(error(410))
    assert told.asked() == LIST_BY_WATCH  # the next time it may do better


def test_a_watch_list_that_stays_silent_is_given_up_soon() -> None:
    told = Transcript()
    told.next()
    told.opened()
    assert told.reflector.patience == TIMING.first_silence
    told.after(TIMING.first_silence).reflector.silent(told.now)
    assert told.waited() == LIST


def test_a_list_that_loses_its_snapshot_begins_again_and_at_last_without_pages() -> None:
    told = by_pages()
    asked = []
    for _ in range(3):
        told.answered(page(pod("a", 5), more="two"))
        told.refused(410, EXPIRED)
        asked.append(told.asked() if not isinstance(told.next(), Pause) else told.waited())
    assert asked == ["GET /api/v1/pods limit=2000", "GET /api/v1/pods limit=2000", "GET /api/v1/pods"]
    assert told.answered(page(pod("a", 5))) == ["begin", "put a", "complete"]


def test_a_page_that_fails_is_asked_for_again_and_not_the_ones_before_it() -> None:
    told = by_pages()
    told.answered(page(pod("a", 5), more="two"))
    told.refused(500, status(500, "etcdserver: request timed out"))
    assert told.waited() == "GET /api/v1/pods limit=2000 continue=two"
    told.reflector.broken(told.now, "cut")
    assert told.waited() == "GET /api/v1/pods limit=2000 continue=two"
    told.refused(400, status(400, "continue key is not valid"))
    assert told.waited() == "GET /api/v1/pods limit=2000"


@pytest.mark.parametrize("body", [b"<html>", b'{"items": []}', b'{"metadata": {}, "items": []}', b'{"metadata": {"resourceVersion": "5"}}'])
def test_an_answer_that_is_no_list_deletes_nothing(body: bytes) -> None:
    told = by_pages()
    assert told.answered(body) == []
    assert (told.standing, told.waited()) == (Standing.FAILING, LIST)


# -- the watch ----------------------------------------------------------------------------------------------------------------


def test_a_watch_asks_for_bookmarks_and_for_a_random_time() -> None:
    seconds = set()
    for chance in (0.0, 0.5, 1.0 - 1e-9):
        action = Transcript(chance=chance).next()
        assert isinstance(action, Watch)
        query = dict(action.query)
        assert (query["watch"], query["allowWatchBookmarks"]) == ("true", "true")
        seconds.add(int(query["timeoutSeconds"]))
    assert seconds == {290, 435, 580}


def test_a_bookmark_moves_on_where_the_next_watch_begins() -> None:
    told = Transcript().synced()
    told.line(bookmark(4711))
    told.after(300).ended()
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=4711"


def test_410_in_the_stream_asks_for_everything_at_once() -> None:
    told = Transcript().synced()
    told.after(60)
    assert told.line(error(410, "too old resource version: 254 (2884)")) == []
    assert not told.reflector.watching
    assert told.asked() == LIST_BY_WATCH


def test_410_as_a_status_asks_for_everything_at_once() -> None:
    told = Transcript().synced()
    told.after(60).ended()
    told.next()
    told.refused(410, status(410, "too old"))
    assert told.asked() == LIST_BY_WATCH
    assert told.opened() == ["begin"]


def test_who_says_410_again_and_again_is_waited_for() -> None:
    told = Transcript()
    waits = []
    for _ in range(5):
        action = told.next()
        if isinstance(action, Pause):
            waits.append(round(action.until - told.now))
            told.now = action.until
        told.next()
        told.opened()
        told.line(bookmark(10, end=True))
        told.line(error(410))
    assert waits == [1, 2, 4]


def test_after_the_end_of_a_watch_nothing_of_it_counts() -> None:
    told = Transcript().synced()
    told.line(error(410))
    assert told.line(event("ADDED", pod("a", 11))) == []
    assert told.line(bookmark(12)) == []


def test_a_watch_that_is_ended_at_once_has_failed() -> None:
    told = Transcript().synced()
    told.ended()
    waits = []
    for _ in range(4):
        action = told.next()
        assert isinstance(action, Pause)
        waits.append(round(action.until - told.now))
        told.now = action.until
        assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"
        told.opened()
        told.after(0.1).ended()
    assert waits == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "line", [b'{"type": "ADDED", "object": {"metad', b"null", b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}']
)
def test_a_line_that_is_no_event_ends_the_watch_which_resumes(line: bytes) -> None:
    told = Transcript().synced()
    told.after(60)
    assert told.line(line) == []
    assert (told.standing, told.waited()) == (Standing.FAILING, "WATCH /api/v1/pods resourceVersion=10")


def test_a_watch_that_lasted_makes_good_what_failed_before() -> None:
    told = Transcript().synced()
    for _ in range(3):
        told.ended("cut")
        told.waited()
        told.opened()
    told.after(60).ended("cut")
    assert told.asked() == "PAUSE 1"


def test_half_of_each_wait_is_chance() -> None:
    told = Transcript(chance=0.0).synced()
    told.ended("cut")
    assert told.asked() == "PAUSE 0.5"


def test_a_silent_watch_resumes_and_one_as_silent_after_it_asks_for_everything() -> None:
    told = Transcript().synced()
    assert told.reflector.patience == TIMING.silence
    told.after(150).reflector.silent(told.now)
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"
    told.opened()
    told.after(150).reflector.silent(told.now)
    assert told.asked() == LIST_BY_WATCH


def test_a_sign_of_life_between_silences_is_enough() -> None:
    told = Transcript().synced()
    for _ in range(3):
        told.after(150).reflector.silent(told.now)
        assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"
        told.opened()
        told.line(bookmark(10))


# -- refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "header"), [(status(429, "later", details={"retryAfterSeconds": 30}), 0.0), (b"later", 30.0), (status(503), 30.0)]
)
def test_retry_after_is_the_least_that_is_waited(body: bytes, header: float) -> None:
    told = Transcript()
    told.next()
    told.refused(429, body, header)
    assert told.asked() == "PAUSE 30"


def test_an_error_in_the_stream_that_is_not_410_resumes() -> None:
    told = Transcript().synced()
    told.after(60).line(error(500, "etcd is away", details={"retryAfterSeconds": 3}))
    assert told.asked() == "PAUSE 3"
    assert told.waited() == "WATCH /api/v1/pods resourceVersion=10"


def test_a_resource_version_of_a_future_that_is_no_more_asks_for_everything() -> None:
    told = Transcript().synced()
    told.after(60).ended()
    told.next()
    told.refused(504, status(504, "Too large resource version", details={"causes": [{"reason": "ResourceVersionTooLarge"}]}))
    assert told.waited() == LIST_BY_WATCH


def test_401_reads_the_credentials_again_at_once_and_then_before_each_try() -> None:
    told = Transcript()
    told.next()
    told.refused(401, status(401, "Unauthorized"))
    assert told.asked() == "RENEW"
    told.reflector.renewed(told.now)
    assert (told.standing, told.asked()) == (Standing.SYNCING, LIST_BY_WATCH)
    told.refused(401, status(401, "Unauthorized"))
    assert (told.standing, told.asked()) == (Standing.UNAUTHORISED, "PAUSE 1")
    assert told.waited() == "RENEW"
    told.reflector.renewed(told.now)
    told.next()
    assert told.opened() == ["begin"]
    told.line(bookmark(10, end=True))
    assert told.standing is Standing.SYNCED


def test_403_is_a_state_that_is_looked_at_again_and_resumes() -> None:
    told = Transcript().synced()
    told.after(60).ended()
    for _ in range(12):
        told.next()
        told.refused(403, status(403, 'pods is forbidden: User "x" cannot watch resource "pods"'))
        assert (told.standing, told.reflector.whole) == (Standing.FORBIDDEN, True)
        assert 'cannot watch resource "pods"' in told.reflector.problem
        pause = told.next()
        assert isinstance(pause, Pause)
        assert pause.until - told.now <= TIMING.missing
        told.now = pause.until
    assert told.asked() == "WATCH /api/v1/pods resourceVersion=10"
    told.opened()
    assert told.standing is Standing.SYNCED


def test_404_of_a_resource_that_every_cluster_has_deletes_nothing() -> None:
    told = Transcript().synced()
    told.after(60).ended()
    told.next()
    told.refused(404, NOT_FOUND)
    assert told.standing is Standing.MISSING
    assert told.waited() == "WATCH /api/v1/pods resourceVersion=10"


def test_without_an_answer_waits_grow() -> None:
    told = Transcript()
    waits = []
    for _ in range(6):
        told.next()
        told.reflector.unreachable(told.now, "connection refused")
        pause = told.next()
        assert isinstance(pause, Pause)
        waits.append(round(pause.until - told.now))
        told.now = pause.until
    assert (waits, told.standing) == ([1, 2, 4, 8, 8, 8], Standing.UNREACHABLE)


def test_a_server_that_answers_again_is_asked_soon_but_not_where_it_said_no() -> None:
    told = Transcript(chance=0.25)
    told.next()
    told.reflector.unreachable(told.now, "connection refused")
    told.reflector.failures = 20
    told.reflector.unreachable(told.now, "connection refused")
    told.reflector.wake(told.now)
    assert told.asked() == "PAUSE 0.25"
    told.after(1)
    told.next()
    assert told.reflector.failures == 0, "the outage that is over would make the next, short one long"
    told.refused(403, status(403))
    before = told.asked()
    told.reflector.wake(told.now)
    assert told.asked() == before


def test_resync_asks_for_everything_and_takes_nothing_of_what_was_asked_before() -> None:
    told = by_pages()
    told.answered(page(pod("a", 5), more="two"))
    assert told.asked() == "GET /api/v1/pods limit=2000 continue=two"
    told.reflector.resync(told.now)
    assert told.answered(page(pod("b", 6))) == []  # it would be all that there is
    assert told.asked() == "GET /api/v1/pods limit=2000"
    told.reflector.resync(told.now)
    told.refused(500)
    assert told.asked() == "GET /api/v1/pods limit=2000"
    told.answered(page(pod("a", 5)))
    told.next()
    told.reflector.resync(told.now)
    assert told.opened() == []
    assert not told.reflector.watching


# -- versions -----------------------------------------------------------------------------------------------------------------


def istio(answer: bytes = b"") -> Transcript:
    told = Transcript("gateways")
    assert told.asked() == "GET /apis"
    if answer:
        told.answered(answer)
    return told


def followed(version: str, *offered: str) -> Transcript:
    """Gateways, read in this version."""
    told = istio(groups(istio=[*offered, version]))
    told.asked()
    told.answered(served("gateways", "gateways/status"))
    assert told.asked().startswith(f"WATCH /apis/networking.istio.io/{version}/gateways sendInitialEvents")
    told.opened()
    told.line(bookmark(10, end=True))
    return told


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["v1alpha3", "v1beta1", "v1"], "v1"), (["v1alpha3", "v1beta1"], "v1beta1"), (["v1alpha3"], "v1alpha3")]
)
def test_the_first_of_our_versions_that_is_served_is_read(offered: list[str], chosen: str) -> None:
    told = istio(groups(istio=offered))
    assert told.asked() == f"GET /apis/networking.istio.io/{chosen}"
    told.answered(served("virtualservices", "gateways"))
    assert told.reflector.version == chosen


def test_a_version_without_the_resource_is_passed_over() -> None:
    told = istio(groups(istio=["v1", "v1beta1"]))
    told.asked()
    assert told.answered(served("sidecars")) == []
    assert told.asked() == "GET /apis/networking.istio.io/v1beta1"
    told.refused(404, NOT_FOUND)
    assert told.standing is Standing.MISSING
    assert not told.reflector.whole  # the answers contradict each other: nothing is concluded
    assert told.waited() == "GET /apis"


@pytest.mark.parametrize("offered", [[], ["v2"]])
def test_a_resource_that_is_not_served_is_told_to_have_no_objects_and_looked_for_again(offered: list[str]) -> None:
    told = istio()
    assert told.answered(groups(istio=offered)) == ["begin", "complete"]
    assert (told.standing, told.reflector.whole) == (Standing.MISSING, True)
    told.after(TIMING.missing * 1.25)
    assert told.asked() == "GET /apis"
    told.answered(groups(istio=["v1"]))
    assert told.asked() == "GET /apis/networking.istio.io/v1"
    told.answered(served("gateways"))
    assert told.asked().startswith("WATCH /apis/networking.istio.io/v1/gateways sendInitialEvents")


def test_a_resource_that_was_there_before_a_restart_is_gone_only_when_that_was_said_twice() -> None:
    told = Transcript("gateways")
    told.reflector.remember()
    assert told.asked() == "GET /apis"
    assert told.answered(groups()) == []
    assert told.reflector.standing is Standing.MISSING
    assert told.waited() == "GET /apis"
    assert told.answered(groups()) == ["begin", "complete"]


def test_a_resource_that_disappears_is_gone_only_when_that_was_said_twice() -> None:
    told = followed("v1")
    told.after(60).ended()
    told.next()
    told.refused(404, NOT_FOUND)
    assert told.asked() == "GET /apis"
    assert told.answered(groups()) == []
    assert told.standing is Standing.MISSING
    assert told.waited() == "GET /apis"
    assert told.answered(groups()) == ["begin", "complete"]


@pytest.mark.parametrize("body", [b"<html>moved</html>", b'{"kind": "Status"}', b'{"kind": "APIGroupList", "groups": null}'])
def test_an_answer_that_is_no_list_of_groups_says_nothing(body: bytes) -> None:
    told = followed("v1")
    told.after(60).ended()
    told.next()
    told.refused(404, b"default backend - 404")
    for _ in range(5):
        assert told.asked() == "GET /apis" if not isinstance(told.next(), Pause) else told.waited() == "GET /apis"
        assert told.answered(body) == []
    assert told.standing is Standing.FAILING


def test_another_served_version_is_followed() -> None:
    told = followed("v1beta1")
    told.after(60).ended()
    told.next()
    told.refused(404, NOT_FOUND)
    told.asked()
    told.answered(groups(istio=["v1"]))
    told.asked()
    told.answered(served("gateways"))
    assert told.asked().startswith("WATCH /apis/networking.istio.io/v1/gateways sendInitialEvents")
    assert told.opened() == ["begin"]


def test_where_discovery_is_forbidden_the_versions_are_tried_in_turn() -> None:
    told = istio()
    told.refused(403, status(403, "forbidden"))
    tried = []
    for _ in range(4):
        asked = told.asked() if not isinstance(told.next(), Pause) else told.waited()
        if asked == "GET /apis":
            told.refused(403, status(403, "forbidden"))
            asked = told.asked()
        tried.append(asked.split()[1].split("/")[3])
        told.refused(404, NOT_FOUND)
    assert tried == ["v1", "v1beta1", "v1alpha3", "v1"]
    assert told.standing is Standing.MISSING


def test_403_of_a_version_that_is_served_is_forbidden() -> None:
    told = istio(groups(istio=["v1"]))
    told.asked()
    told.answered(served("gateways"))
    told.next()
    told.refused(403, status(403, "no"))
    assert told.standing is Standing.FORBIDDEN


def test_no_message_is_longer_than_it_helps() -> None:
    told = Transcript()
    told.next()
    told.refused(500, status(500, "x" * 100_000))
    assert len(told.reflector.problem) < 400
    told.refused(500, b"<html>" + b"y" * 100_000)
    assert len(told.reflector.problem) < 400


def test_an_object_of_another_shape_is_told_as_it_came_and_one_without_a_version_is_no_event() -> None:
    watching = Transcript().synced()
    assert watching.line(event("MODIFIED", {**pod("a", 11), "spec": []})) == ["put a"]
    assert watching.line(b'{"type": "ADDED", "object": {"metadata": {"name": "\xff", "resourceVersion": "12"}}}') == []
    assert not watching.reflector.watching
