"""Whatever happens on the way, what was told comes to what the server has: a server of a few lines, and faults of every kind between."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.model.ids import ClusterID
from steersman.sources.contents import run
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Begin, Complete, Get, Pause, Put, Reflector, Renew, Watch
from steersman.sources.kube.timing import Timing
from tests.sources.kube.answers import Object, bookmark, error, event, page, pod, resource, status
from tests.sources.listening import Listener
from tests.support.examples import examples

EAST = ClusterID("east")
NAMES = ("a", "b", "c")


class Server:
    """Objects with a history that can be compacted; lists are served from snapshots."""

    def __init__(self) -> None:
        self.version = 100_000
        self.objects: dict[str, Object] = {}
        self.history: list[tuple[int, bytes]] = []
        self.compacted = 0
        self.snapshots: dict[str, tuple[list[Object], int]] = {}
        self.uids = 0

    def put(self, name: str) -> None:
        self.version += 3
        known = self.objects.get(name)
        if known is None:
            self.uids += 1
        uid = known["metadata"]["uid"] if known else f"u{self.uids}"
        self.objects[name] = pod(name, self.version, uid=uid, ip=f"10.0.{self.version // 256 % 256}.{self.version % 256}")
        self.history.append((self.version, event("MODIFIED" if known else "ADDED", self.objects[name])))

    def delete(self, name: str) -> None:
        gone = self.objects.pop(name, None)
        if gone is not None:
            self.version += 3
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self.history.append((self.version, event("DELETED", gone)))

    def compact(self) -> None:
        self.compacted = self.version
        self.snapshots.clear()

    def restore(self) -> None:
        """From an old backup: versions jump back further than they will come again here, and all that was since is undone."""
        self.version -= 1000
        older = self.version - 10
        self.objects = {name: pod(name, older, uid=one["metadata"]["uid"]) for name, one in self.objects.items() if name != "a"}
        self.history.clear()
        self.compact()
        self.compacted = 0

    def listed(self, query: dict[str, str]) -> bytes | None:
        """None: the snapshot is gone."""
        token = query.get("continue", "")
        if token and token not in self.snapshots:
            return None
        items, version = self.snapshots[token] if token else (list(self.objects.values()), self.version)
        if "limit" not in query or len(items) <= 1:
            return page(*items, version=version)
        more = f"{version}-{len(items)}-{len(self.snapshots)}"
        self.snapshots[more] = (items[1:], version)
        return page(items[0], version=version, more=more)


class Client:
    """A reflector and a mirror, with a server at the other end of a line that breaks."""

    def __init__(self, server: Server, watch_lists: bool) -> None:
        self.server = server
        self.watch_lists = watch_lists
        self.now = 0.0
        self.mirror = Mirror(EAST, resource("pods"))
        self.reflector = Reflector(resource("pods"), Timing(), lambda: 0.5, self.mirror.events())
        self.heard = Listener()
        self.position = 0

    def step(self, fault: str = "") -> None:
        """One request, or one more line of the watch that is open, with this going wrong."""
        self.now += 0.5
        if self.reflector.watching:
            self.more(fault)
        else:
            self.ask(fault)
        self.heard.apply(self.mirror.facts())

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def ask(self, fault: str) -> None:
        match self.reflector.next(self.now):
            case Pause(until):
                self.now = until
            case Renew():
                self.reflector.renewed(self.now)
            case Get(_, query):
                body = self.server.listed(dict(query))
                if body is None:
                    self.reflector.refused(self.now, 410, status(410, metadata={"continue": "fresh"}))
                elif not self.fails(fault):
                    run(self.mirror.take(self.reflector.answered(self.now, body[: len(body) // 2] if fault == "half" else body), self.now))
            case Watch(_, query):
                self.open(dict(query), fault)

    def open(self, query: dict[str, str], fault: str) -> None:
        initial = "sendInitialEvents" in query
        if initial and not self.watch_lists:
            self.reflector.refused(self.now, 422, status(422))
        elif not self.fails(fault):
            if initial:
                run(self.mirror.take(self.reflector.opened(self.now), self.now))
                for one in self.server.objects.values():
                    self.line(event("ADDED", one))
                self.position = self.server.version
                self.line(bookmark(self.position, end=True))
                return
            self.position = int(query["resourceVersion"])
            if fault == "replay":  # as by a server that resumes too early
                self.position -= 7
            run(self.mirror.take(self.reflector.opened(self.now), self.now))

    def cut_by(self, change: Callable[[], None]) -> None:
        """No stream outlives this."""
        change()
        if self.reflector.watching:
            self.reflector.ended(self.now, "cut")

    def fails(self, fault: str) -> bool:
        match fault:
            case "500" | "401" | "403" | "429":
                self.reflector.refused(self.now, int(fault), status(int(fault)))
            case "404":
                self.reflector.refused(self.now, 404, b"404 page not found\n")
            case "unreachable":
                self.reflector.unreachable(self.now, fault)
            case _:
                return False
        return True

    def more(self, fault: str) -> None:
        reflector, server = self.reflector, self.server
        match fault:
            case "cut" | "unreachable":
                reflector.ended(self.now, "cut")
            case "clean":
                reflector.ended(self.now)
            case "silent":
                reflector.silent(self.now)
            case "half":
                self.line(b'{"type": "ADDED", "object": {"metad')
            case "410":
                self.line(error(410))
            case "bookmark" if self.position <= server.version:
                self.position = max(self.position, server.version) if not self.waiting() else self.position
                self.line(bookmark(self.position))
            case _:
                if self.position < server.compacted:
                    self.line(error(410, "too old"))
                elif self.position > server.version:
                    reflector.silent(self.now)  # the server waits for a version that it has not reached
                else:
                    for version, line in self.waiting()[:1]:
                        self.position = version
                        self.line(line)

    def waiting(self) -> list[tuple[int, bytes]]:
        return [one for one in self.server.history if one[0] > self.position]

    def line(self, line: bytes) -> None:
        change = self.reflector.line(self.now, line)
        if change is not None:
            run(self.mirror.take([change], self.now))

    def held(self) -> dict[str, tuple[Any, str, str]]:
        return {
            key.name: (value.ips, self.heard.origins[kind, key].uid, self.heard.origins[kind, key].resource_version)
            for (kind, key), value in self.heard.values.items()
        }


FAULTS = ("500", "401", "403", "404", "429", "unreachable", "cut", "clean", "silent", "half", "410", "replay", "bookmark")
Step = Callable[[Server, Client], None]


def changed(name: str) -> Step:
    return lambda server, client: server.put(name)


def deleted(name: str) -> Step:
    return lambda server, client: server.delete(name)


def warmed(*names: str, uid: str) -> Step:
    """The warm file of a process before is read only now; some of what it has is another object by now, or has changed."""

    def warm(server: Server, client: Client) -> None:
        older = Mirror(EAST, resource("pods"))
        bodies = [pod(name, 99_000, uid=uid, ip="10.9.9.9") for name in names]
        run(older.take([Begin(), *(Put(msgspec.Raw(json.dumps(body).encode())) for body in bodies), Complete()], client.now))
        run(client.mirror.restore(older.kept(), "east.warm", client.now))
        client.reflector.remember()

    return warm


def went_wrong(fault: str) -> Step:
    return lambda server, client: client.step(fault)


STEPS: dict[str, Step] = {
    **{f"put {name}": changed(name) for name in NAMES},
    **{f"delete {name}": deleted(name) for name in NAMES},
    **{fault: went_wrong(fault) for fault in FAULTS},
    "step": lambda server, client: client.step(),
    "steps": lambda server, client: client.steps(8),
    "compact": lambda server, client: server.compact(),
    "restore": lambda server, client: client.cut_by(server.restore),
    "resync": lambda server, client: client.reflector.resync(client.now),
    "warm a b": warmed("a", "b", uid="u1"),
    "warm c": warmed("c", uid="u0"),
    "forget": lambda server, client: client.mirror.forget_warm(),
    "interrupt": lambda server, client: client.reflector.interrupted(client.now),
}


@settings(max_examples=examples(300))
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=60), watch_lists=st.booleans())
def test_whatever_happens_what_was_told_comes_to_what_the_server_has(steps: list[str], watch_lists: bool) -> None:
    server = Server()
    client = Client(server, watch_lists)
    for name in steps:
        STEPS[name](server, client)
    client.steps(80)
    assert client.held() == {
        name: ((one["status"]["podIPs"][0]["ip"],), one["metadata"]["uid"], one["metadata"]["resourceVersion"])
        for name, one in server.objects.items()
    }
    assert client.reflector.whole
    assert client.mirror.warm == 0


def test_the_server_of_these_tests_tells_what_it_has() -> None:
    server = Server()
    for name in NAMES:
        server.put(name)
    first = json.loads(server.listed({"limit": "1"}) or b"")
    assert ([one["metadata"]["name"] for one in first["items"]], bool(first["metadata"]["continue"])) == (["a"], True)
