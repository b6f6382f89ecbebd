"""The double's requests: who asks for what, which fault they meet, and what is answered."""

import asyncio
import base64
import random
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from tests.support.apiserver import answers, tokens
from tests.support.apiserver.answers import encoded
from tests.support.apiserver.faults import Answer, Cut, Fault, Late, Silent, Where
from tests.support.apiserver.http import Asked, Connection
from tests.support.apiserver.kinds import Object, Resource
from tests.support.apiserver.selectors import Matches, fields_match, labels_match
from tests.support.apiserver.store import Event, Refused, Store, Stored
from tests.support.apiserver.watching import Watch

SILENCE = 3600.0
"""Seconds that a watch without timeoutSeconds runs."""


@dataclass(kw_only=True)
class Manners:
    """How servers differ, by version, flags and load.

    `watch_list`: has WatchList. `expired_status`: 410 comes as the HTTP status of a watch, not in its stream. `snapshots`: an expired
    continue token is served from a snapshot. `null_items`: an empty list's items are null. `gzip_from`: bytes from which a list is packed.
    `backlog`: lines that may wait for a slow client. `send_buffer`: bytes of a connection's buffer in the kernel, None its own choice.
    `future_wait`: seconds that a list from the future waits. `ignores_limit_at_zero`: a list at resourceVersion "0" is never in pages.
    """

    watch_list: bool = True
    expired_status: bool = False
    snapshots: bool = True
    null_items: bool = False
    gzip_from: int = 128 * 1024
    backlog: int = 10_000
    send_buffer: int | None = None
    future_wait: float = 0.05
    ignores_limit_at_zero: bool = True


class Request(NamedTuple):
    """One that came. `at`: monotonic seconds. `verb`: get, list, watch, create, or discover. `resource`: plural, "" for discovery."""

    at: float
    verb: str
    resource: str
    version: str
    path: str
    query: Mapping[str, str]
    user: str


@dataclass(eq=False)
class Script:
    """A fault for requests to come: of this verb and resource (None: any), so many times (None: until taken away)."""

    fault: Fault
    verb: str | None = None
    resource: str | None = None
    times: int | None = 1

    def meets(self, verb: str, resource: str) -> bool:
        return self.times != 0 and self.verb in (None, verb) and self.resource in (None, resource)


@dataclass
class Access:
    """Who may ask for what. `tokens`: users by their bearer tokens. `forbidden`: (verb, plural) that nobody may; "*" is any verb."""

    tokens: dict[str, str] = field(default_factory=dict)
    forbidden: set[tuple[str, str]] = field(default_factory=set)

    def user(self, asked: Asked) -> str | None:
        """None: a token that isn't known. Without one: the anonymous user."""
        given = asked.headers.get("authorization", "")
        if not given:
            return "system:anonymous"
        return self.tokens.get(given.removeprefix("Bearer "))

    def may(self, user: str, verb: str, plural: str) -> bool:
        return user != "system:anonymous" and not {(verb, plural), ("*", plural)} & self.forbidden


class Server:
    """The double in the event loop that runs it. `packed`: how many lists went by gzip."""

    def __init__(self, store: Store, *, tls: ssl.SSLContext | None = None) -> None:
        self.manners, self.access = Manners(), Access()
        self.requests: list[Request] = []
        self.scripts: list[Script] = []
        self.watches: list[Watch] = []
        self.packed = 0
        self.running = asyncio.Event()
        self.running.set()
        self._tls = tls
        self._held: dict[str, int] = {}
        self._initializing: set[tuple[str, str]] = set()
        self._listening: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._random = random.Random(1)
        self.adopt(store)

    def adopt(self, store: Store) -> None:
        """From now on it serves this store."""
        self.store = store
        store.told.append(self._tell)
        store.redefined.append(self._redefined)

    async def listen(self, address: str, port: int) -> int:
        """Takes connections; the port."""
        self._listening = await asyncio.start_server(self._connected, address, port, ssl=self._tls)
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends as a process does that is killed: everything is reset."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for task, connection in self._connections.items():
            connection.close(reset=True)
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def trust(self, tls: ssl.SSLContext) -> None:
        """The certificate that it shows from its next start on."""
        self._tls = tls

    # -- what tests do to it --------------------------------------------------------------------------------------------------

    def hold(self, plural: str) -> None:
        """Watches and cached lists of this resource stay where they are, until `release`."""
        self._held[plural] = self.store.rv
        for watch in self.of(plural):
            watch.hold(self.store.rv)

    def release(self, plural: str) -> None:
        del self._held[plural]
        for watch in self.of(plural):
            watch.hold(None)

    def of(self, plural: str | None) -> list[Watch]:
        """The watches that run, of one resource or of all."""
        return [watch for watch in self.watches if plural in (None, watch.resource.plural)]

    # -- connections ----------------------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.manners.send_buffer is not None:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.manners.send_buffer)
        connection = self._connections[task] = Connection(reader, writer, self.running)
        try:
            while connection.open and (asked := await connection.asked()) is not None:
                await self.running.wait()
                await self._serve(connection, asked)
        except (ConnectionError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            if self._listening is not None:
                raise
        finally:
            del self._connections[task]
            connection.close()

    async def _serve(self, connection: Connection, asked: Asked) -> None:
        meant = self._meant(asked)
        verb, plural, resource = meant.verb, meant.plural, meant.resource
        user = self.access.user(asked)
        path = "/" + "/".join(asked.path)
        self.requests.append(Request(time.monotonic(), verb, plural, meant.version, path, asked.query, user or ""))
        fault = self._fault(verb, plural)
        match fault:
            case Answer(status, body, content_type, headers):
                body = body if isinstance(body, bytes) else encoded(body)
                await connection.answer(status, body, content_type, headers, packed=False)
                return
            case Late(seconds):
                await asyncio.sleep(seconds)
            case Silent(headers=False):
                await connection.closed()
                connection.close()
                return
        if user is None:
            await self._say(connection, answers.unauthorized())
        elif plural and not self.access.may(user, verb, plural):
            await self._say(connection, answers.forbidden(user, verb, meant.group, plural, meant.name))
        elif verb == "create" and plural:
            await self._create(connection, asked, meant)
        elif resource is None:
            await self._discover(connection, asked, meant)
        elif verb == "watch":
            await self._watch(connection, resource, meant.version, _selected(meant.namespace, asked.query), asked, fault)
        elif meant.name:
            await self._get(connection, resource, meant.version, (meant.namespace, meant.name))
        else:
            await self._list(connection, resource, meant.version, _selected(meant.namespace, asked.query), asked, fault)

    def _meant(self, asked: Asked) -> "_Meant":
        match asked.path:
            case ["api", version, *rest]:
                group = ""
            case ["apis", group, version, *rest]:
                pass
            case _:
                return _Meant()
        namespace = ""
        match rest:
            case ["namespaces", namespace, plural, *names]:
                pass
            case [plural, *names]:
                pass
            case _:
                return _Meant()
        resource = self.store.resources.get((group, plural))
        if resource is not None and version not in resource.versions:
            resource = None
        watched = asked.query.get("watch") in ("1", "true")
        verb, name = ("get", names[0]) if names else ("watch" if watched else "list", "")
        if asked.method == "POST":
            verb, plural = "create", "/".join((plural, *names[1:]))
        return _Meant(verb, group, version, plural, resource, namespace, name)

    def _fault(self, verb: str, plural: str) -> Fault | None:
        script = next((script for script in self.scripts if script.meets(verb, plural)), None)
        if script is None:
            return None
        if script.times is not None:
            script.times -= 1
        return script.fault

    async def _say(self, connection: Connection, status: Object) -> None:
        wait = status.get("details", {}).get("retryAfterSeconds")
        headers = {"Retry-After": str(wait)} if wait else {}
        await connection.answer(status["code"], encoded(status), "application/json", headers, packed=False)

    async def _discover(self, connection: Connection, asked: Asked, meant: "_Meant") -> None:
        found = answers.discovery(self.store, asked.path)
        if found is not None:
            await connection.answer(200, encoded(found), "application/json", {}, packed=False)
        elif asked.path in (("livez",), ("readyz",), ("healthz",)):
            await connection.answer(200, b"ok", "text/plain; charset=utf-8", {}, packed=False)
        elif any(one.group == meant.group and not one.custom for one in self.store.resources.values()) and meant.plural:
            await self._say(connection, answers.unknown_resource())
        else:
            await connection.answer(404, answers.NOT_FOUND, "text/plain; charset=utf-8", {}, packed=False)

    async def _create(self, connection: Connection, asked: Asked, meant: "_Meant") -> None:
        try:
            if meant.plural == "serviceaccounts/token":
                made = tokens.request(self.store, self.access.tokens, (meant.namespace, meant.name), msgspec.json.decode(asked.body))
            else:
                assert meant.resource is not None, f"no {meant.plural} is served"
                made = self.store.create(meant.resource, msgspec.json.decode(asked.body))
        except Refused as refused:
            await self._say(connection, answers.status(refused.code, refused.reason, str(refused)))
        else:
            await connection.answer(201, encoded(made), "application/json", {}, packed=False)

    # -- get and list ---------------------------------------------------------------------------------------------------------

    async def _get(self, connection: Connection, resource: Resource, version: str, name: tuple[str, str]) -> None:
        stored = self.store.get(resource, name)
        if stored is None:
            details = {"name": name[1], "group": resource.group, "kind": resource.plural}
            await self._say(connection, answers.status(404, "NotFound", f'{resource.name} "{name[1]}" not found', details=details))
        else:
            await connection.answer(200, stored.whole(resource.api_version(version)), "application/json", {}, packed=False)

    async def _list(
        self, connection: Connection, resource: Resource, version: str, matches: Matches, asked: Asked, fault: Fault | None
    ) -> None:
        query = asked.query
        try:
            page = await self._page(resource, matches, query)
        except _Refusal as refusal:
            await self._say(connection, refusal.status)
            return
        api_version = resource.api_version(version)
        items = [one.whole(api_version) if resource.custom else one.bare() for one in page.items]
        listed = b"null" if self.manners.null_items and not items else b"[%b]" % b",".join(items)
        metadata: Object = {"resourceVersion": str(page.rv)}
        if page.next is not None:
            metadata["continue"] = page.next
            if "labelSelector" not in query and "fieldSelector" not in query:
                metadata["remainingItemCount"] = page.remaining
        head = {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": metadata}
        body = encoded(head)[:-1] + b',"items":%b}\n' % listed
        packed = len(body) >= self.manners.gzip_from and "gzip" in asked.headers.get("accept-encoding", "")
        self.packed += packed
        cut = isinstance(fault, Cut)
        await connection.answer(200, body, "application/json", {}, packed=packed, cut=cut)
        if isinstance(fault, Cut):
            connection.close(reset=fault.where is Where.RESET)

    async def _page(self, resource: Resource, matches: Matches, query: Mapping[str, str]) -> "_Page":
        """Raises _Refusal."""
        limit = int(query.get("limit") or "0")
        start: tuple[str, str] | None = None
        if query.get("continue"):
            rv, start = self._resumed(query["continue"])
        else:
            rv = await self._version_of_list(resource, query)
            if query.get("resourceVersion") == "0" and self.manners.ignores_limit_at_zero:
                limit = 0
        found = [one for one in self.store.objects(resource, rv) if matches(one.value) and (start is None or one.name >= start)]
        if not limit or len(found) <= limit:
            return _Page(rv, found, None, 0)
        return _Page(rv, found[:limit], _token(rv, found[limit].name), len(found) - limit)

    async def _version_of_list(self, resource: Resource, query: Mapping[str, str]) -> int:
        asked = query.get("resourceVersion", "")
        if not asked:
            return self.store.rv
        if not asked.isdecimal():
            raise _Refusal(answers.malformed(asked, listed=True))
        rv = int(asked)
        if rv == 0:
            return self._held.get(resource.plural, self.store.rv)
        if rv > self.store.rv:
            await asyncio.sleep(self.manners.future_wait)
            if rv > self.store.rv:
                raise _Refusal(answers.too_new(rv, self.store.rv))
        if query.get("resourceVersionMatch") == "Exact":
            if rv < self.store.compacted:
                raise _Refusal(answers.expired("The provided resource version is too old to be exact."))
            return rv
        return self.store.rv

    def _resumed(self, token: str) -> tuple[int, tuple[str, str]]:
        """The version and the first name that a continue token means."""
        try:
            said = msgspec.json.decode(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise _Refusal(answers.bad_token()) from error
        start = tuple(said["start"].split("/", 1))
        rv = self.store.rv if said["rv"] < 0 else said["rv"]
        if rv < self.store.compacted and not self.manners.snapshots:
            fresh = _token(-1, start)
            message = (
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
                "the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
            )
            raise _Refusal(answers.expired(message, **{"continue": fresh}))
        return rv, (start[0], start[1])

    # -- watch ----------------------------------------------------------------------------------------------------------------

    async def _watch(
        self, connection: Connection, resource: Resource, version: str, matches: Matches, asked: Asked, fault: Fault | None
    ) -> None:
        query = asked.query
        if resource.id in self._initializing:
            self._initializing.discard(resource.id)
            await self._say(connection, answers.initializing())
            return
        initial = query.get("sendInitialEvents") == "true"
        if "sendInitialEvents" in query and not self.manners.watch_list:
            await self._say(connection, answers.no_watch_list())
            return
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            await self._say(connection, answers.no_match())
            return
        given = query.get("resourceVersion", "")
        if given and not given.isdecimal():
            await self._say(connection, answers.malformed(given))
            return
        rv = int(given or "0")
        stale = 0 < rv < self.store.oldest and not initial
        if stale and self.manners.expired_status:
            await self._say(connection, answers.too_old(rv, self.store.oldest))
            return
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        watch = Watch(resource, version, matches, after=rv, bookmarks=bookmarks, backlog=self.manners.backlog)
        watch.fault = fault
        if stale:
            watch.error(answers.too_old(rv, self.store.oldest))
        else:
            self._begin(watch, initial=initial, given=given, rv=rv)
        seconds = float(query.get("timeoutSeconds") or SILENCE)
        self.watches.append(watch)
        try:
            await watch.run(connection, seconds)
        finally:
            self.watches.remove(watch)

    def _begin(self, watch: Watch, *, initial: bool, given: str, rv: int) -> None:
        """What it tells of before it came. Unless it asked for any version, its first objects are the newest."""
        watch.ceiling = self._held.get(watch.resource.plural)
        if initial or rv == 0:
            now = self.store.rv if given == "" or watch.ceiling is None else watch.ceiling
            for stored in self.store.objects(watch.resource, now):
                watch.present(stored, now)
            watch.after = now
            if initial and watch.bookmarks:
                watch.bookmark(now, initial_events_end=True)
        for event in self.store.since(watch.resource, watch.after):
            watch.event(event)

    def _tell(self, event: Event) -> None:
        for watch in self.watches:
            watch.event(event)

    def _redefined(self, resource: Resource, before: Resource | None) -> None:
        """Of a custom resource: its watches end, and its first new one finds the storage not ready."""
        for watch in self.of(resource.plural):
            watch.finish()
        if before is None:
            self._initializing.add(resource.id)


class _Meant(NamedTuple):
    """What a request is about. `resource`: None for one that isn't served, and where the path names none."""

    verb: str = "discover"
    group: str = ""
    version: str = ""
    plural: str = ""
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""


class _Page(NamedTuple):
    rv: int
    items: list[Stored]
    next: str | None
    remaining: int


class _Refusal(Exception):
    def __init__(self, status: Object) -> None:
        super().__init__(status["message"])
        self.status = status


def _token(rv: int, start: Iterable[str]) -> str:
    return base64.urlsafe_b64encode(encoded({"v": "meta.k8s.io/v1", "rv": rv, "start": "/".join(start)})).decode()


def _selected(namespace: str, query: Mapping[str, str]) -> Matches:
    """Which objects are asked for. `namespace` "": those of all."""
    parts: list[Matches] = []
    if namespace:
        parts.append(lambda value: value["metadata"].get("namespace") == namespace)
    if query.get("labelSelector"):
        parts.append(labels_match(query["labelSelector"]))
    if query.get("fieldSelector"):
        parts.append(fields_match(query["fieldSelector"]))
    return lambda value: all(part(value) for part in parts)
