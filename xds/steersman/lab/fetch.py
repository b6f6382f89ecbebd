"""HTTP requests made from inside a pod's network."""

import asyncio
import socket
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
import msgspec
from yarl import URL

from steersman.lab import netns


class Reply(NamedTuple):
    """What came back. `headers`: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> object:
        """The body's value. Raises msgspec.DecodeError where it isn't JSON."""
        return msgspec.json.decode(self.body)


async def fetch(
    url: str,
    *,
    namespace: str | None = None,
    address: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    data: bytes | None = None,
    within: float = 5.0,
) -> Reply:
    """One request on a connection of its own. `namespace`: the network that it starts from. `address`: dialled instead of the URL's host.

    Raises OSError where there was no answer at all, TimeoutError where there was none in `within` seconds.
    """
    target, sent = URL(url), dict(headers or {})
    if address is not None:
        sent.setdefault("Host", target.raw_authority)
        target = target.with_host(address)

    def dial(info: tuple[int, int, int, str, object]) -> socket.socket:
        return netns.stream_socket(namespace, socket.AddressFamily(info[0]))

    connector = aiohttp.TCPConnector(force_close=True, socket_factory=dial)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=within)) as session:
        try:
            async with session.request(method, target, headers=sent, data=data) as response:
                return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
        except aiohttp.ClientOSError as failed:
            raise OSError(*(failed.args if failed.errno is not None else (str(failed),))) from failed
        except aiohttp.ClientError as failed:
            raise ConnectionError(f"{url}: {type(failed).__name__}: {failed}") from failed


async def connects(host: str, port: int, *, namespace: str | None = None, within: float = 2.0) -> bool:
    """Whether something accepts connections there, within so many seconds."""
    try:
        with netns.stream_socket(namespace) as probe:
            probe.setblocking(False)
            async with asyncio.timeout(within):
                await asyncio.get_running_loop().sock_connect(probe, (host, port))
    except (OSError, TimeoutError):
        return False
    return True
