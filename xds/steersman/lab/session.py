"""What the commands of `steersman lab` do."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from steersman.errors import SteersmanError
from steersman.lab.lab import CONTROL_PLANE, running
from steersman.lab.labfile import find_lab, read_lab
from steersman.lab.launch import within
from steersman.lab.remote import Remote, status_of, tell
from steersman.lab.report import guide
from steersman.lab.run import Run, clean, runs, the_run
from steersman.lab.selection import only
from steersman.lab.status import LabStatus, PodStatus

_ENDING = 30.0
"""Seconds that a running lab has to end when `lab down` asks it to."""


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


def down(run_id: str | None) -> int:
    """End labs that run, clean up after those that could not: all of them, or the one of this id."""
    found = [run for run in runs() if run_id in (None, run.id)]
    if not found:
        say("No lab is running, and none has left anything." if run_id is None else f"There is no lab {run_id}.")
        return 0 if run_id is None else 1
    for run in found:
        _down(run)
    return 0


def _down(run: Run) -> None:
    if run.alive():
        say(f"{run.id}: asking process {run.record.process.pid} to end ...")
        run.record.process.send(signal.SIGTERM)
        until = time.monotonic() + _ENDING
        while run.alive() and time.monotonic() < until:
            time.sleep(0.05)
        if run.alive():
            say(f"{run.id}: it has not ended after {_ENDING:.0f} s; killing it")
            run.record.process.send(signal.SIGKILL)
    if not run.directory.exists():
        say(f"{run.id}: ended, and nothing is left")
        return
    for removed in asyncio.run(clean(run)):
        say(f"{run.id}: removed {removed}")


def status(run_id: str | None) -> LabStatus:
    return asyncio.run(status_of(the_run(run_id)))


def steer(verb: str, run_id: str | None, target: str, container: str | None) -> int:
    """`verb`: stop or start."""
    done = asyncio.run(tell(the_run(run_id), verb, target, container))
    say("\n".join(f"{'stopped' if verb == 'stop' else 'started'} {one}" for one in done))
    return 0


def execute(run_id: str | None, target: str, command: Sequence[str]) -> int:
    """Become this command, inside a pod's network (or the control plane's)."""
    state = status(run_id)
    if target == CONTROL_PLANE:
        namespace = state.namespace or None
        environment: dict[str, str] = {}
    else:
        pod = one_pod(state, target)
        namespace = pod.namespace or None
        environment = {"POD_IP": pod.ip, "OUTBOUND_ADDRESS": pod.outbound}
        if namespace is None:
            print(
                f"note: no namespaces, so this runs on the machine's own network; dial {pod.outbound or pod.ip} to be {pod.pod}",
                file=sys.stderr,
            )
    return become(within(namespace, command), environment)


def curl(run_id: str | None, target: str, arguments: Sequence[str]) -> int:
    """Become curl, dialling as the pod's own containers do."""
    pod = one_pod(status(run_id), target)
    route = ["--connect-to", f"::{pod.outbound}:"] if pod.outbound else []
    return become(within(pod.namespace or None, ["curl", *route, *arguments]), {})


def logs(run_id: str | None, target: str, container: str | None, *, follow: bool) -> int:
    """Print a log, and with `follow` what is added to it."""
    state = status(run_id)
    if target == CONTROL_PLANE:
        file = state.control.log
    else:
        pod = one_pod(state, target)
        known = {one.name: one for one in pod.containers}
        name = container or pod.containers[0].name
        if name not in known:
            raise SteersmanError(f"pod {pod.pod} has no container {name}; it has {', '.join(known)}")
        file = known[name].log
    if follow:
        return become(["tail", "-n", "+1", "-f", file], {})
    sys.stdout.write(Path(file).read_text(errors="replace"))
    return 0


def one_pod(state: LabStatus, named: str) -> PodStatus:
    """The only pod that the name means. Raises SteersmanError."""
    found = only(named, {pod.pod: pod.app for pod in state.pods})
    return next(pod for pod in state.pods if pod.pod == found)


def become(argv: Sequence[str], environment: dict[str, str]) -> int:
    """This process turns into the command. Raises SteersmanError where there is no such command."""
    if shutil.which(argv[0]) is None:
        raise SteersmanError(f"{argv[0]} is not installed")
    sys.stdout.flush()
    os.execvpe(argv[0], list(argv), {**os.environ, **environment})


def say(text: str) -> None:
    print(text, flush=True)
