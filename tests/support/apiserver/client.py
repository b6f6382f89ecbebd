"""A plain client of the API: what is on the wire, as it comes."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import aiohttp

from tests.support.apiserver.double import Double
from tests.support.apiserver.real import Real

Cluster = Double | Real
SERVICES, SLICES, PODS = "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/pods"
PATIENCE = 20.0
"""Seconds in which what is waited for has to come."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Stream:
    """A running watch, read line by line. `arrived`: the loop's times of the pieces that came."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def line(self, seconds: float = PATIENCE) -> bytes:
        """The next event, as it is written."""
        line = await asyncio.wait_for(self.response.content.readline(), seconds)
        assert line, "the stream has ended"
        return line.removesuffix(b"\n")

    async def next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next event."""
        event: dict[str, Any] = json.loads(await self.line(seconds))
        return event

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def until(self, type_: str, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """The events to the first of that type."""
        events = [await self.next(seconds)]
        while events[-1]["type"] != type_:
            events.append(await self.next(seconds))
        return events

    async def rest(self, seconds: float = PATIENCE) -> bytes:
        """All bytes until it ends properly; how it ends otherwise is aiohttp's error."""
        return await asyncio.wait_for(self.response.content.read(), seconds)

    async def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        try:
            await asyncio.wait_for(self.response.content.readany(), seconds)
        except TimeoutError:
            return True
        return False


class Client:
    """Of one cluster, with a bearer token."""

    def __init__(self, cluster: Cluster, token: str = "") -> None:
        self._cluster = cluster
        self._token = token or cluster.token
        trusted = ssl.create_default_context(cadata=cluster.ca.pem.decode())
        connector = aiohttp.TCPConnector(ssl=trusted, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=2**24, auto_decompress=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        """`query`: `continue_` is `continue`."""
        async with self._session.get(self._cluster.url + path, params=_query(query), headers=self._headers(headers)) as response:
            body = await response.read()
            text = body.decode() if "Content-Encoding" not in response.headers else ""
            return Answer(response.status, response.headers, text)

    async def post(self, path: str, body: Any) -> Answer:
        async with self._session.post(self._cluster.url + path, json=body, headers=self._headers(None)) as response:
            return Answer(response.status, response.headers, (await response.read()).decode())

    @asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator[Stream]:
        """A stream that was answered with 200."""
        given = {"watch": "true", **query}
        async with self._session.get(
            self._cluster.url + path, params=_query(given), headers=self._headers(None), timeout=aiohttp.ClientTimeout(total=None)
        ) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)

    def _headers(self, more: Mapping[str, str] | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept-Encoding": "identity", **(more or {})}


def _query(query: Mapping[str, Any]) -> dict[str, str]:
    shown = {True: "true", False: "false"}
    return {name.rstrip("_"): shown[value] if isinstance(value, bool) else str(value) for name, value in query.items()}


def names(listed: Any) -> list[str]:
    """Of a list's items."""
    return [item["metadata"]["name"] for item in listed["items"] or ()]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(type, name) of each event."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]
