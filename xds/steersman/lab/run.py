"""Runs of labs on this machine: where each keeps its files, and what it would leave if it were killed."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from steersman.errors import SteersmanError
from steersman.lab.isolation import Isolation
from steersman.lab.process import ProcessID

_RECORD = "run.json"
_SLOTS = range(1, 255)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Enough to clean up after a run that could not. `lab`: the file. `prefix`: of its namespaces' names; "" if it has none."""

    lab: str
    isolation: Isolation
    started: float
    process: ProcessID
    prefix: str = ""
    children: dict[str, ProcessID] = {}


class Run:
    """A directory with a record in it. Its name is the run's id."""

    def __init__(self, directory: Path, record: Record) -> None:
        self.directory = directory
        self.record = record

    @property
    def id(self) -> str:
        return self.directory.name

    def alive(self) -> bool:
        """Whether the lab itself still runs."""
        return self.record.process.alive()

    @property
    def socket(self) -> Path:
        """Where the running lab takes commands."""
        return self.directory / "lab.sock"

    def note(self, child: str, process: ProcessID | None) -> None:
        """Record that a child runs as this process, or that it has ended."""
        children = {name: known for name, known in self.record.children.items() if name != child}
        if process is not None:
            children[child] = process
        self.record = msgspec.structs.replace(self.record, children=children)
        _write(self.directory, self.record)

    def remove(self) -> None:
        """The directory and all in it, unless it is gone already."""
        shutil.rmtree(self.directory, ignore_errors=True)


def base_directory() -> Path:
    """Where runs are: $STEERSMAN_LAB_DIR, else /run/steersman-lab for root, else below $XDG_RUNTIME_DIR or the temporary directory."""
    if named := os.environ.get("STEERSMAN_LAB_DIR"):
        return Path(named)
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path("/run/steersman-lab")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "steersman-lab"
    return Path(tempfile.gettempdir()) / f"steersman-lab-{os.getuid()}"


def new_run(lab: Path, isolation: Isolation, process: ProcessID, run_id: str) -> Run:
    """Recorded before anything of it exists, so that nothing is ever left that no record knows of."""
    base = base_directory()
    base.mkdir(mode=0o755, parents=True, exist_ok=True)
    if base.stat().st_uid != os.geteuid():
        raise SteersmanError(f"{base} belongs to another user; name a directory of your own in $STEERSMAN_LAB_DIR")
    if isolation is Isolation.NAMESPACES and not all(place.stat().st_mode & 0o001 for place in (base, *base.resolve().parents)):
        raise SteersmanError(f"Envoy, which runs as another user, can't get into {base}; name another directory in $STEERSMAN_LAB_DIR")
    directory = base / run_id
    # What is secret is in directories of its own.
    directory.mkdir(mode=0o755)
    prefix = prefix_of(run_id) if isolation is Isolation.NAMESPACES else ""
    record = Record(lab=str(lab.resolve()), isolation=isolation, started=time.time(), process=process, prefix=prefix)
    _write(directory, record)
    return Run(directory, record)


def new_id() -> str:
    return secrets.token_hex(3)


def prefix_of(run_id: str) -> str:
    return f"steersman-{run_id}-"


def runs() -> list[Run]:
    """All that are recorded on this machine, the oldest first, whether they still run or not."""
    found = []
    base = base_directory()
    for directory in base.iterdir() if base.is_dir() else ():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            found.append(Run(directory, msgspec.json.decode((directory / _RECORD).read_bytes(), type=Record)))
    return sorted(found, key=lambda run: (run.record.started, run.id))


def the_run(run_id: str | None) -> Run:
    """The run of this id, or the only one that is alive. Raises SteersmanError saying which there are."""
    alive = [run for run in runs() if run.alive()]
    wanted = [run for run in alive if run_id in (None, run.id)]
    if len(wanted) == 1:
        return wanted[0]
    if not alive:
        raise SteersmanError("no lab is running; start one: steersman lab up")
    listed = ", ".join(f"{run.id} ({Path(run.record.lab).name})" for run in alive)
    raise SteersmanError(
        f"no lab {run_id} is running; there are: {listed}" if not wanted else f"several labs are running, name one by --run: {listed}"
    )


async def clean(run: Run) -> list[str]:
    """Remove what a run that is no longer alive has left. Says what was found, by name."""
    from steersman.lab import namespaces  # asking what runs needs none of what that needs

    left = []
    for name, process in run.record.children.items():
        if process.alive():
            process.send(signal.SIGKILL)
            left.append(f"process {process.pid} ({name})")
    if run.record.prefix:
        left += [f"namespace {namespace}" for namespace in await namespaces.remove(run.record.prefix)]
    run.remove()
    left.append(f"directory {run.directory}")
    return left


@contextlib.contextmanager
def loopback_slot() -> Iterator[int]:
    """A number from 1 to 254 that no other run on this machine holds, for as long as this one does: 127.NUMBER.0.0/16 is its own.

    Held by a name in the abstract socket namespace, which the kernel gives back however the holder ends.
    """
    for number in _SLOTS:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
            try:
                held.bind(f"\0steersman-lab-{number}")
            except OSError:
                continue
            yield number
            return
    raise SteersmanError(f"{len(_SLOTS)} labs run on loopback addresses already")


def _write(directory: Path, record: Record) -> None:
    pending = directory / f"{_RECORD}.pending"
    pending.write_bytes(msgspec.json.encode(record))
    pending.replace(directory / _RECORD)
