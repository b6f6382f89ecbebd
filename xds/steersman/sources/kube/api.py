"""Requests to one API server: connections, time-outs, and credentials that are read anew without ending what runs."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from yarl import URL

from steersman.errors import SourceError
from steersman.sources.kube import wire
from steersman.sources.kube.credentials import Access, Credentials
from steersman.sources.kube.reflector import Query
from steersman.sources.kube.timing import Timing

log = logging.getLogger("steersman.kubernetes")

_LARGE_BODY = 16 << 20
"""Bytes that take so long to be put together that it is not done in the event loop."""
_LARGEST_BODY = 256 << 20
_CONNECTIONS = 32
_READ_AHEAD = 1 << 20
"""Bytes that are taken from a connection before they are read."""

IDENTITY = "/api/v1/namespaces/kube-system"
"""A small answer that only an API server has, with the uid by which it is known."""


class Unreachable(SourceError):
    """There was no answer."""


class Broken(SourceError):
    """The answer broke off, or is larger than any can be."""


class _Session:
    """Connections under one set of credentials. One that is retired is closed when its last request is over."""

    def __init__(self, credentials: Credentials, timing: Timing) -> None:
        self.credentials = credentials
        self.running = 0
        self.retired = False
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=credentials.tls if credentials.tls is not None else True),
            timeout=aiohttp.ClientTimeout(total=None, connect=2 * timing.connect, sock_connect=timing.connect),
            headers={"Accept": "application/json", "User-Agent": "steersman"},
            read_bufsize=_READ_AHEAD,
            auto_decompress=True,
        )

    async def retire(self) -> None:
        self.retired = True
        await self.release()

    async def release(self) -> None:
        if self.retired and not self.running:
            await self.client.close()


class Api:
    """One API server."""

    def __init__(self, access: Access, timing: Timing) -> None:
        self._access = access
        self._timing = timing
        self._session: _Session | None = None
        self._old: set[_Session] = set()
        self._renewing = asyncio.Lock()
        self._renewed_at = 0.0
        self._pending = False
        self.unused = ""
        """Why credentials that are newer than those in use are not used, "" where there are none."""

    @property
    def server(self) -> str:
        return self._session.credentials.server if self._session is not None else ""

    async def __aenter__(self) -> Self:
        """Raises SourceError where the credentials can't be read."""
        self._session = _Session(await self._credentials(), self._timing)
        self._renewed_at = asyncio.get_running_loop().time()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for session in (*self._old, *((self._session,) if self._session is not None else ())):
            await session.client.close()

    async def _credentials(self) -> Credentials:
        try:
            async with asyncio.timeout(self._timing.credentials):
                return await self._access.credentials()
        except TimeoutError as error:
            raise SourceError(f"the credentials ({self._access.place}) could not be had within {self._timing.credentials:g} s") from error

    @property
    def untried(self) -> bool:
        """Whether there are new credentials that nobody has tried yet: it is too soon after those of before."""
        return self._access.changed() or (self._pending and not self.unused)

    async def renew_if_changed(self) -> bool:
        """Takes new credentials before the old ones are refused: as soon as the API has answered to them. Whether it has."""
        self._pending = self._pending or self._access.changed()
        return self._pending and await self.renew()

    async def renew(self) -> bool:
        """Reads the credentials again, once for all who ask at a time; whether they are used from now on. Requests that run go on under the
        old ones. Where the API doesn't answer to the new ones so do all others, unless the old ones are revoked."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._renewing:
            if self._renewed_at + self._timing.renewal > asked:
                return False
            self._renewed_at = loop.time()
            self._pending = self._pending or self._access.changed()
            revoked = self._access.revoked()
            fresh: _Session | None = None
            try:
                fresh = _Session(await self._credentials(), self._timing)
                await self._contact(fresh)
            except SourceError as error:
                self._refuse(str(error))
                if not revoked:
                    if fresh is not None:
                        await fresh.retire()
                    return False
                fresh = fresh or _Session(_none(self.server, str(error)), self._timing)
            else:
                self._pending, self.unused = False, ""
            old, self._session = self._session, fresh
            if old is not None:
                self._old = {session for session in self._old if session.running} | {old}
                await old.retire()
            return True

    def _refuse(self, why: str) -> None:
        if not self._pending:
            return  # the same as before, which are known to be of no use
        if self.unused != why:
            log.warning("%s: new credentials (%s) can't be used yet: %s", self.server, self._access.place, why)
        self.unused = why

    async def _contact(self, session: _Session) -> None:
        """Whether an API server answers to these credentials, as somebody's. Raises SourceError."""
        patience = self._timing.heartbeat_answer
        try:
            async with asyncio.timeout(patience), self._request(session, IDENTITY) as response:
                body = await self.body(response)
        except TimeoutError as error:
            raise SourceError(f"{session.credentials.server} does not answer within {patience:g} s") from error
        if response.status == 200:
            wire.head(msgspec.Raw(body))
        elif response.status not in (403, 404) or wire.status(body).code != response.status:
            raise SourceError(f"{session.credentials.server} answers {response.status}: {wire.status(body).message}")

    @asynccontextmanager
    async def request(
        self, path: str, query: Query = (), *, method: str = "GET", body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, of which only the head has come. `body`: JSON. Raises Unreachable where there is none."""
        assert self._session is not None
        async with self._request(self._session, path, query, method, body) as response:
            yield response

    @asynccontextmanager
    async def _request(
        self, session: _Session, path: str, query: Query = (), method: str = "GET", body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session.running += 1
        try:
            async with await self._opened(session, URL(f"{session.credentials.server}{path}").with_query(query), method, body) as response:
                yield response
        finally:
            session.running -= 1
            await session.release()

    async def _opened(self, session: _Session, url: URL, method: str, body: bytes | None) -> aiohttp.ClientResponse:
        credentials = session.credentials
        try:
            async with asyncio.timeout(self._timing.answer):
                return await session.client.request(
                    method,
                    url,
                    data=body,
                    headers={**await credentials.headers(), **({"Content-Type": "application/json"} if body is not None else {})},
                    server_hostname=credentials.server_name or None,
                    proxy=credentials.proxy or None,
                    allow_redirects=False,
                )
        except TimeoutError as error:
            raise Unreachable(str(error) or f"no answer within {self._timing.answer:g} s") from error
        except (aiohttp.ClientError, OSError, SourceError, ValueError) as error:  # ValueError: of a server that can't be a host's name
            raise Unreachable(_described(error)) from error

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """All of an answer. Raises Broken, also when nothing comes for too long."""
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._timing.answer):
                    part = await self.part(response)
            except TimeoutError as error:
                raise Broken(f"the answer stopped for {self._timing.answer:g} s") from error
            if not part:
                return await asyncio.to_thread(b"".join, parts) if size > _LARGE_BODY else b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > _LARGEST_BODY:
                raise Broken(f"an answer of more than {_LARGEST_BODY >> 20} MiB")

    async def part(self, response: aiohttp.ClientResponse) -> bytes:
        """What has come of an answer since; b"" at its end. Raises Broken."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(_described(error)) from error


def _none(server: str, why: str) -> Credentials:
    """Nobody's: requests fail."""

    async def headers() -> Mapping[str, str]:
        raise SourceError(why)

    return Credentials(server=server, headers=headers)


def _described(error: Exception) -> str:
    """In words for a state; how exactly a stream broke off is of no use there."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"its certificate is not trusted: {getattr(cause, 'verify_message', '') or cause}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        known = isinstance(cause, ConnectionError) and cause.errno is not None
        return f"no connection to {error.host}:{error.port}: {os.strerror(cause.errno or 0) if known else cause.strerror or cause}"
    if isinstance(error, aiohttp.ClientPayloadError | ConnectionError):
        return "the connection broke off"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    return str(error) or type(error).__name__
