"""Memory that the C allocator keeps though nothing uses it, given back to the system.

gRPC reads a connection in blocks of 64 KB for as long as it remembers a large request, such as an Envoy's first one. What streams leave
behind when they come, go and settle lies scattered over the heap, where glibc keeps it for ever unless it is asked.
"""

import asyncio
import ctypes
from collections.abc import Callable

PERIOD = 15.0
"""Seconds between two times, if there was something to do at all."""


async def give_back(work: Callable[[], int]) -> None:
    """Goes on for ever. `work`: a number that grows with what the server does; as long as it stands still, nothing is done.

    Returns at once where the allocator has no such thing (it is glibc's). It takes a thread of its own, as it may hold a core for some
    milliseconds.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    done = 0
    while trim is not None:
        await asyncio.sleep(PERIOD)
        if (now := work()) != done:
            done = now
            await asyncio.to_thread(trim, 0)
