"""Commands to labs that run, or ran, in another process."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from steersman.errors import SteersmanError
from steersman.lab.netns import within
from steersman.lab.report import say
from steersman.lab.run import Run, clean, runs, the_run
from steersman.lab.selection import only
from steersman.lab.status import CONTROL_PLANE, LabStatus, PodStatus

_ENDING = 30.0
"""Seconds that a running lab has to end when `lab down` asks it to."""


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
    return msgspec.json.decode(_ask(the_run(run_id), "GET", "/status", {}), type=LabStatus)


def steer(verb: str, run_id: str | None, target: str, container: str | None) -> int:
    """`verb`: stop or start."""
    query = {"target": target} | ({"container": container} if container is not None else {})
    done = msgspec.json.decode(_ask(the_run(run_id), "POST", f"/{verb}", query), type=list[str])
    say("\n".join(f"{'stopped' if verb == 'stop' else 'started'} {one}" for one in done))
    return 0


def _ask(run: Run, method: str, path: str, query: dict[str, str]) -> bytes:
    """What the running lab answers. Raises SteersmanError with its own words, or while it takes no commands, as before it is up."""
    connection = _Connection(run.socket)
    try:
        connection.request(method, f"{path}?{urlencode(query)}")
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as failed:
        raise SteersmanError(f"lab {run.id} does not answer ({failed}); is it still starting?") from failed
    finally:
        connection.close()
    if response.status != 200:
        raise SteersmanError(body.decode(errors="replace"))
    return body


class _Connection(HTTPConnection):
    """HTTP to a socket file."""

    def __init__(self, file: Path) -> None:
        super().__init__("lab", timeout=30)
        self._file = file

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._file))


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
