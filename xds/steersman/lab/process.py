"""The lab's children: each is known by its process id and start time, and dies with the lab."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ProcessID(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process for as long as this machine is up: a number alone is given to another process once the first has ended.

    `started`: clock ticks since boot, field 22 of /proc/PID/stat.
    """

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether it runs; one that has ended and waits for its parent to ask does not."""
        found = _stat(self.pid)
        return found is not None and found == ("live", self.started)

    def send(self, number: signal.Signals) -> None:
        """Signal it if it still is the same process."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def process_id(pid: int) -> ProcessID:
    found = _stat(pid)
    return ProcessID(pid, found[1] if found is not None else 0)


class Process:
    """A command that is started, stopped, and started again. Its output is appended to `log`.

    `changed` is called whenever it starts or ends, after `id` and `returncode` say so; `id` is None while it does not run.
    `kept`: descriptors that it inherits.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        changed: Callable[["Process"], None],
        kept: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self.id: ProcessID | None = None
        self.returncode: int | None = None
        self.stopped = False
        self._env = dict(env)
        self._changed = changed
        self._kept = tuple(kept)
        self._reaper: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.id is not None

    async def start(self) -> None:
        """Start it unless it runs. Raises OSError if the command can't be executed."""
        if self.running:
            return
        with self.log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
                pass_fds=self._kept,
                # A terminal sends Ctrl-C to its whole foreground group; the lab alone is to hear it, and stops its children in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.id = process_id(child.pid)
        self.returncode = None
        self.stopped = False
        self._reaper = asyncio.create_task(self._reap(child), name=f"reap {self.name}")
        self._changed(self)

    async def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and kill it after `grace` seconds. Returns once it has ended."""
        if self.id is None or self._reaper is None:
            return
        self.stopped = True
        self.id.send(signal.SIGTERM)
        done, _ = await asyncio.wait({self._reaper}, timeout=grace)
        if not done:
            self.kill()
            await asyncio.wait({self._reaper})

    def kill(self) -> None:
        """End it at once, with no chance to clean up."""
        if self.id is not None:
            self.id.send(signal.SIGKILL)

    async def _reap(self, child: asyncio.subprocess.Process) -> None:
        self.returncode = await child.wait()
        self.id = None
        self._changed(self)

    def said(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return _tail(self.log, lines)


def _tail(log: Path, lines: int) -> str:
    try:
        with log.open("rb") as output:
            _seek_back(output, 64 * 1024)
            text = output.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _seek_back(output: IO[bytes], most: int) -> None:
    output.seek(max(0, output.seek(0, os.SEEK_END) - most))


def _die_with_parent() -> None:
    """Runs in the child before exec. Without it, a lab that is killed outright would leave its Envoys behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return ("ended" if fields[0] in "ZX" else "live", int(fields[19]))
