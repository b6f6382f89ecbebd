"""The double in a thread of its own, so that whatever is tested may block, freeze or live in another process."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from tests.support.apiserver.answers import encoded
from tests.support.apiserver.faults import Fault
from tests.support.apiserver.kinds import Object
from tests.support.apiserver.server import Access, Manners, Request, Script, Server
from tests.support.apiserver.store import Store
from tests.support.apiserver.tls import ClusterCA
from tests.support.running import loopback

T = TypeVar("T")
TOKEN = "the-first-token"
_seeds = itertools.count(1)
ADDRESS = loopback(251)
"""Where nobody else takes the port while nothing listens at it."""


class Double:
    """A running API server. Everything that is done to it is done in its own loop, and over when the call returns.

    Its address stays the same over restarts.
    """

    def __init__(self, address: str = ADDRESS) -> None:
        self.address = address
        self.ca = ClusterCA()
        self.port = 0
        self.token = self.admin = TOKEN
        self._issued = 0
        self._seed = next(_seeds)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-server double", daemon=True)
        self._thread.start()
        self.server = self.do(lambda: Server(Store(seed=self._seed), tls=self.ca.context(address)))
        self.access.tokens[TOKEN] = "steersman"

    def do(self, change: Callable[[], T]) -> T:
        async def done() -> T:
            return change()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something that takes its time there, over when the call returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        asyncio.run_coroutine_threadsafe(_cancelled(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- the process ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """It takes connections; its watch cache knows nothing of before."""
        self.do(lambda: self.store.restarted())
        self.port = asyncio.run_coroutine_threadsafe(self.server.listen(self.address, self.port), self._loop).result(30)

    def stop(self) -> None:
        """As by kill -9."""
        self.do(self.server.running.set)
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(30)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """As by SIGSTOP: connections stay, and new ones are taken by the kernel, but nothing is said."""
        self.do(self.server.running.clear)

    def thaw(self) -> None:
        self.do(self.server.running.set)

    def replace(self, *, authority: bool = True) -> None:
        """Another cluster stands behind the same address: other uids, lower resourceVersions, another CA unless `authority` is false. It
        keeps nothing."""
        self._seed = next(_seeds)
        self.roll_back(authority=authority)

    def roll_back(self, *, authority: bool = False) -> None:
        """The same cluster's etcd was set up anew: lower resourceVersions, nothing but what every cluster has, which keeps its uids."""
        self.stop()
        self.do(lambda: self.server.adopt(Store(first=100, seed=self._seed)))
        if authority:
            self.ca = ClusterCA()
            self.do(lambda: self.server.trust(self.ca.context(self.address)))
        self.start()

    # -- what it holds --------------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """To be changed by `do` only."""
        return self.server.store

    @property
    def manners(self) -> Manners:
        return self.server.manners

    @property
    def access(self) -> Access:
        return self.server.access

    def apply(self, *values: Object) -> list[Object]:
        return self.do(lambda: [self.store.apply(value) for value in values])

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        resource = self.store.resource_of(kind)
        self.do(lambda: self.store.delete(resource, (namespace, name)))

    def compact(self) -> None:
        """etcd forgets what was."""
        self.do(lambda: self.store.compact())

    def bookmark(self) -> None:
        """To all watches that allow it."""

        def told() -> None:
            for watch in self.server.of(None):
                if watch.bookmarks:
                    watch.bookmark(self.store.rv)

        self.do(told)

    # -- its troubles ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def script(self, fault: Fault, verb: str | None = None, resource: str | None = None, times: int | None = 1) -> Iterator[Script]:
        """Requests to come meet this fault."""
        scripted = Script(fault, verb, resource, times)
        self.do(lambda: self.server.scripts.append(scripted))
        try:
            yield scripted
        finally:
            self.do(lambda: self.server.scripts.remove(scripted))

    def disturb(self, fault: Fault, resource: str | None = None) -> int:
        """Watches that run meet this fault; how many."""

        def disturbed() -> int:
            watches = self.server.of(resource)
            for watch in watches:
                watch.disturb(fault)
            return len(watches)

        return self.do(disturbed)

    def tell(self, type_: str, value: Any, resource: str) -> None:
        """Watches that run are told this, whatever is true."""

        def told() -> None:
            for watch in self.server.of(resource):
                watch.line(type_, encoded(value))

        self.do(told)

    def hold(self, resource: str) -> None:
        self.do(lambda: self.server.hold(resource))

    def release(self, resource: str) -> None:
        self.do(lambda: self.server.release(resource))

    # -- who asks -------------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def kubeconfig(self, token: str = "", context: str = "double") -> Object:
        """Of a user with this token; by default `token`."""
        return kubeconfig(self.url, self.ca.data, token or self.token, context)

    def forbid(self, resource: str, verb: str = "*") -> None:
        self.do(lambda: self.access.forbidden.add((verb, resource)))

    def permit(self, resource: str, verb: str = "*") -> None:
        self.do(lambda: self.access.forbidden.discard((verb, resource)))

    def expire(self) -> None:
        """The token is no longer taken. Watches that run go on."""
        self.do(self.access.tokens.clear)

    def issue(self) -> str:
        """A new token, which is taken as well from now on."""
        self._issued += 1
        token = f"{TOKEN}-{self._issued}"
        self.do(lambda: self.access.tokens.__setitem__(token, "steersman"))
        return token

    def requests(self, verb: str | None = None, resource: str | None = None) -> list[Request]:
        """Those so far, oldest first."""
        wanted = list(self.server.requests)
        return [one for one in wanted if verb in (None, one.verb) and resource in (None, one.resource)]


async def _cancelled() -> None:
    """Everything that still runs in this loop, but for the caller."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def kubeconfig(url: str, ca: str, token: str, name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
