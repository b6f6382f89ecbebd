"""`steersman serve`, which says as well when it was last acknowledged: for clients that can't be asked when they did so.

python tests/bench/observed.py FILE SOCKET

Each connection to that socket file is answered with the seconds, by the monotonic clock, of the newest ACK of endpoints, and with how many
streams have nothing of endpoints left to acknowledge.
"""

import asyncio
import sys
from pathlib import Path

from steersman.names import EDS
from steersman.server.app import Server
from steersman.settings import read_settings


def newest(server: Server) -> tuple[float, int]:
    of_endpoints = [channel for status in server.connections() for channel in status.channels if channel.type_url == EDS]
    times = [channel.acked.at for channel in of_endpoints if channel.acked and channel.sent and channel.acked.nonce == channel.sent.nonce]
    return max(times, default=0.0), len(times)


async def run(file: Path, socket: str) -> None:
    server = Server(read_settings(file))

    def answer(_: asyncio.StreamReader, asker: asyncio.StreamWriter) -> None:
        at, count = newest(server)
        asker.write(f"{at!r} {count}".encode())
        asker.close()

    async with await asyncio.start_unix_server(answer, socket):
        await server.run()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2]))
