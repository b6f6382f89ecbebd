"""Running a lab until it is interrupted."""

import asyncio
import signal
from collections.abc import Awaitable

from steersman.lab.lab import running
from steersman.lab.labfile import find_lab, read_lab
from steersman.lab.remote import Remote
from steersman.lab.report import guide, say
from steersman.lab.run import runs


def up(named: str | None, *, isolate: bool | None) -> int:
    """Run a lab until Ctrl-C or SIGTERM."""

    file = read_lab(find_lab(named))
    if killed := [run.id for run in runs() if not run.alive()]:
        say(f"Left by labs that were killed or failed: {', '.join(killed)}; to remove it: steersman lab down")

    async def main() -> int:
        async with running(file, isolate=isolate, say=say) as lab, Remote(lab):
            say(guide(await lab.status()))
            await lab.until_broken()
        return 1

    return until_interrupted(main())


def until_interrupted(work: Awaitable[int], *, interrupted: int = 0) -> int:
    """Run it, and on Ctrl-C or SIGTERM cancel it and wait until it has cleaned up; a signal that comes meanwhile changes nothing.
    Returns its exit code, or `interrupted`."""

    async def main() -> int:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if not task.cancelling():
                say("\nEnding ...")
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupt)
        try:
            return await task
        except asyncio.CancelledError:
            return interrupted

    return asyncio.run(main())
