"""Directories of Kubernetes YAML and JSON, watched: each stands for a cluster.

One task watches all of them, since watching costs, and each has a task of its own, so that one that is slow to read holds up nobody else.
That sleeps until files change, reads them in a thread, parses YAML and what is big in a process, decodes in steps of a few milliseconds,
and emits what changed as one batch. Events only say where to look; what counts is what is found there.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar, assert_never

import watchfiles

from steersman.model.facts import Fact, Severity, Synced
from steersman.model.ids import ClusterID
from steersman.settings import Settings
from steersman.sources.contents import run
from steersman.sources.filesystem import (
    Busy,
    Gone,
    Listing,
    Signature,
    Text,
    Unreadable,
    format_of,
    is_hidden,
    listing,
    read,
    tells_writers,
)
from steersman.sources.pace import Pace
from steersman.sources.parser import Parser, ParserFailed
from steersman.sources.reader import DirectoryReader
from steersman.sources.report import Complaint
from steersman.sources.texts import BrokenText, Format, entries

T = TypeVar("T")
P = ParamSpec("P")
Emit = Callable[[Sequence[Fact]], None]

_BIG = 256 << 10
"""Bytes of JSON from which it is parsed in a process: below, that takes less than asking."""
_READ_AT_ONCE = 64
"""How many files are read in one visit to the thread."""

_CHECK = 1.0
"""Seconds between looks at whether a directory is still the one that is watched."""
_RESCAN = 10.0
"""Seconds between looks at everything, for what raises no event: links out of the directory, network file systems, a lost event."""
_RESCAN_SHARE = 100
"""A look at everything takes at most this part of the time."""
_AFTER_DIRECTORY = 0.2
"""Seconds after a new directory's first look when it is looked at again: its first files may have come before its watch."""
_BUSY_QUIET = 2.0
"""Seconds after which a file that is open for writing, but not written to, is read all the same."""
_BUSY_REPORTED = 5.0
_BUSY_RETRY = 0.02


def directories_of(settings: Settings) -> dict[ClusterID, Path]:
    """The directory of each cluster that is read from one."""
    return {cluster.config.name: cluster.files for cluster in settings.clusters if cluster.files is not None}


def read_directory(cluster: ClusterID, path: Path, clock: Callable[[], float] = time.time) -> list[Fact]:
    """All facts of a directory as it is now, ending with Synced; what FileSource would emit first."""
    reader = DirectoryReader(cluster, str(path))
    found = listing(path)
    if found is None:
        reader.directory.trouble("", _missing(path))
    else:
        for file in run(reader.listed(found)):
            match read(path / file, even_if_busy=True):
                case Text() as text:
                    parse = reader.read(file, text)
                    if parse is not None:
                        try:
                            run(reader.parsed(file, parse.data, list(entries(parse.form, parse.data, parse.known))))
                        except BrokenText as error:
                            reader.broken(file, error)
                case Unreadable(complaint):
                    reader.trouble(file, complaint)
                case Gone() | Busy():
                    run(reader.gone(file))
    return [*run(reader.directory.facts(clock())), Synced(source=cluster)]


class _Wait:
    """A file that is being written: since when, and since when it looks as it does."""

    __slots__ = ("first", "next", "signature", "since")

    def __init__(self, signature: Signature, now: float) -> None:
        self.signature = signature
        self.first = self.since = now
        self.next = now + _BUSY_RETRY


class _Look:
    """What to look at in a directory: all of it, or these files."""

    __slots__ = ("everything", "files")

    def __init__(self) -> None:
        self.everything = False
        self.files: set[str] = set()

    def __bool__(self) -> bool:
        return self.everything or bool(self.files)


class _Watched:
    """One cluster's directory. `look`: where to look next; whoever adds to it sets `wanted`. `identity`: which directory is watched."""

    def __init__(self, cluster: ClusterID, path: Path) -> None:
        self.cluster = cluster
        self.path = path
        self.watched = str(path.absolute())
        self.reader = DirectoryReader(cluster, str(path))
        self.pool = ThreadPoolExecutor(1, f"steersman-files-{cluster}")
        self.look = _Look()
        self.wanted = asyncio.Event()
        self.identity: tuple[int, int] | None = None
        self.identified = asyncio.Event()
        self.synced = False
        self.busy: dict[str, _Wait] = {}
        self.check_at = 0.0
        self.rescan_at = math.inf
        self.again_at: float | None = None
        self.tells_writers = True

    def standing(self) -> tuple[int, int] | None:
        """Which directory stands at the path; None if none does."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if self.path.is_dir() else None

    def want(self, *files: str, everything: bool = False) -> None:
        self.look.files.update(files)
        self.look.everything = self.look.everything or everything
        self.wanted.set()

    async def until_due(self) -> None:
        """Returns when there is something to look at, or something is to be looked at again."""
        wakes = (self.check_at, self.rescan_at, *(wait.next for wait in self.busy.values()))
        try:
            async with asyncio.timeout_at(min(wakes)):
                await self.wanted.wait()
        except TimeoutError:
            pass
        self.wanted.clear()

    def take(self, now: float) -> _Look:
        """What to look at now."""
        look, self.look = self.look, _Look()
        look.files.update(path for path, wait in self.busy.items() if wait.next <= now)
        look.everything = look.everything or self.rescan_at <= now
        return look

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the one that belongs to the directory: a disk that does not answer holds up nobody else."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(function, *args, **kwargs))


class FileSource:
    """The directories of all clusters that have one. A file that can't be read costs itself, a directory that is missing its changes."""

    def __init__(self, directories: Mapping[ClusterID, Path], clock: Callable[[], float] = time.time) -> None:
        self._directories = dict(directories)
        self._clock = clock
        self._all = self._afresh()
        self._pace = Pace()
        self._refusal: Complaint | None = None

    @property
    def ignored(self) -> dict[ClusterID, dict[str, int]]:
        """How many objects of kinds that aren't used each cluster has, by `apiVersion Kind`."""
        return {one.cluster: one.reader.directory.ignored for one in self._all}

    async def run(self, emit: Emit) -> None:
        """Emits facts for ever: all of each directory and its Synced first, then what changes. Each run starts from nothing."""
        self._all = self._afresh()
        self._rewatch = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                for one in self._all:
                    tasks.create_task(self._follow(one, emit), name=f"files {one.cluster}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK):
                        for one in self._all:
                            await one.identified.wait()
                while True:
                    await self._watch()
        finally:
            for one in self._all:
                one.pool.shutdown(wait=False, cancel_futures=True)

    def _afresh(self) -> list[_Watched]:
        return [_Watched(cluster, path) for cluster, path in self._directories.items()]

    # --- where to look

    async def _watch(self) -> None:
        """Until a directory is another than the one that is watched."""
        self._rewatch.clear()
        changes = self._changes(sorted({one.watched for one in self._all if one.identity is not None}))
        pending = asyncio.ensure_future(anext(changes))
        rewatch = asyncio.ensure_future(self._rewatch.wait())
        await asyncio.sleep(0)  # the watch stands before the first look, so that nothing is missed between them
        for one in self._all:
            one.want(everything=True)
        try:
            while not rewatch.done():
                await asyncio.wait({pending, rewatch}, return_when=asyncio.FIRST_COMPLETED)
                if pending.done():
                    self._distribute(pending.result())
                    pending = asyncio.ensure_future(anext(changes))
        finally:
            rewatch.cancel()
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
            await changes.aclose()

    async def _changes(self, paths: list[str]) -> AsyncGenerator[set[tuple[watchfiles.Change, str]], None]:
        """Paths where something happened. Where the system refuses to watch, none ever: directories are then looked at every second."""
        self._refusal = None
        if paths:
            try:
                async for changes in watchfiles.awatch(
                    *paths, watch_filter=None, step=1, debounce=50, rust_timeout=1000, ignore_permission_denied=True
                ):
                    yield changes
            except (OSError, RuntimeError) as error:
                self._refusal = _unwatched(str(error))
        await asyncio.get_running_loop().create_future()

    def _distribute(self, changes: set[tuple[watchfiles.Change, str]]) -> None:
        for _, path in changes:
            for one in self._all:
                if path == one.watched:
                    one.identity = None  # whatever stands there now, it is not known to be what is watched
                    one.want(everything=True)
                elif path.startswith(f"{one.watched}/"):
                    _add_change(one, path[len(one.watched) + 1 :])

    # --- looking

    async def _follow(self, one: _Watched, emit: Emit) -> None:
        """One directory's task."""
        loop = asyncio.get_running_loop()
        async with Parser() as parser:
            while True:
                if loop.time() >= one.check_at:
                    await self._identify(one)
                    one.check_at = loop.time() + _CHECK
                look = one.take(loop.time())
                if look:
                    await self._settle(one, look, parser, emit)
                else:
                    await one.until_due()

    async def _identify(self, one: _Watched) -> None:
        standing = await one.in_thread(one.standing)
        if standing != one.identity:
            one.identity = standing
            self._rewatch.set()
        one.identified.set()

    async def _settle(self, one: _Watched, look: _Look, parser: Parser, emit: Emit) -> None:
        """Reads what there is to read, and tells what it changes in one batch."""
        present = await self._list(one, look) if look.everything else True
        if present:
            present = await self._read(one, sorted(look.files), parser)
        if not present:
            one.reader.directory.trouble("", _missing(one.path))
        facts = await self._pace.run(one.reader.directory.facts(self._clock()))
        if present and not one.synced:
            one.synced = True
            facts.append(Synced(source=one.cluster))
        if facts:
            emit(facts)

    async def _list(self, one: _Watched, look: _Look) -> bool:
        """Adds the files that look changed; False if there is no directory."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        found = await one.in_thread(_list, one, self._clock())
        now = loop.time()
        one.rescan_at = now + max(_RESCAN if self._refusal is None else _CHECK, _RESCAN_SHARE * (now - started))
        if one.again_at is not None:
            one.rescan_at, one.again_at = min(one.rescan_at, one.again_at), None
        if found is None:
            return False
        one.reader.directory.trouble("", self._refusal)
        look.files.update(await self._pace.run(one.reader.listed(found)))
        return True

    async def _read(self, one: _Watched, paths: list[str], parser: Parser) -> bool:
        """Reads these files and takes in what they hold; False if there is no directory any more: then they only seem to be gone."""
        for start in range(0, len(paths), _READ_AT_ONCE):
            batch = {path: self._is_patient(one, path) for path in paths[start : start + _READ_AT_ONCE]}
            results = await one.in_thread(_read_all, one, batch)
            if results is None:
                return False
            for path, result in results.items():
                await self._take(one, path, result, parser)
        return True

    def _is_patient(self, one: _Watched, path: str) -> bool:
        """Whether to wait for whoever is writing the file: not at the start, and not for ever."""
        wait = one.busy.get(path)
        if not one.synced or not one.tells_writers:
            return False
        return wait is None or asyncio.get_running_loop().time() - wait.since < _BUSY_QUIET

    async def _take(self, one: _Watched, path: str, result: Text | Gone | Busy | Unreadable, parser: Parser) -> None:
        if isinstance(result, Busy):
            self._wait(one, path, result.signature)
            return
        one.busy.pop(path, None)
        match result:
            case Text():
                parse = one.reader.read(path, result)
                if parse is None:
                    return
                try:
                    if parse.form is Format.JSON and len(parse.data) < _BIG:
                        found = list(entries(parse.form, parse.data, parse.known))
                    else:
                        found = await parser.entries(parse.form, parse.data, parse.known)
                except BrokenText as error:
                    one.reader.broken(path, error)
                except ParserFailed as error:
                    one.reader.unparsed(path, str(error))
                else:
                    await self._pace.run(one.reader.parsed(path, parse.data, found))
            case Unreadable(complaint):
                one.reader.trouble(path, complaint)
            case Gone():
                await self._pace.run(one.reader.gone(path))
            case _:
                assert_never(result)

    def _wait(self, one: _Watched, path: str, signature: Signature) -> None:
        """The file is being written: it is looked at again soon, ever less often."""
        now = asyncio.get_running_loop().time()
        wait = one.busy.setdefault(path, _Wait(signature, now))
        if wait.signature != signature:
            wait.signature, wait.since = signature, now
        wait.next = now + max(_BUSY_RETRY, min(0.5, (now - wait.first) / 4))
        if now - wait.first > _BUSY_REPORTED:
            one.reader.trouble(path, _being_written(now - wait.first))


def _add_change(one: _Watched, path: str) -> None:
    """A file is looked at by itself; everything after a change of directories, or of the `..data` of a Kubernetes volume."""
    if is_hidden(path):
        if any(part.startswith("..") for part in path.split("/")):
            one.want(everything=True)
    elif format_of(path) is not None and path.rpartition("/")[0] in one.reader.directories:
        one.want(path)
    elif format_of(path) is not None or path in one.reader.directories or (one.path / path).is_dir():
        one.again_at = asyncio.get_running_loop().time() + _AFTER_DIRECTORY
        one.want(everything=True)


def _list(one: _Watched, now: float) -> Listing | None:
    found = listing(one.path)
    if found is not None:
        one.tells_writers = tells_writers(one.path, found, now)
    return found


def _read_all(one: _Watched, paths: Mapping[str, bool]) -> dict[str, Text | Gone | Busy | Unreadable] | None:
    """What became of each file (the value: whether to wait for its writer). None if some are gone, and so is the directory."""
    results = {path: read(one.path / path, even_if_busy=not patient) for path, patient in paths.items()}
    if any(isinstance(result, Gone) for result in results.values()) and one.standing() is None:
        return None
    return results


def _missing(path: Path) -> Complaint:
    cause = f"{path} is no directory that can be read; what it held last is kept"
    remedy = "restore the directory, or remove the cluster from the configuration"
    return Complaint(id="directory-missing", severity=Severity.ERROR, cause=cause, remedy=remedy)


def _unwatched(why: str) -> Complaint:
    cause = f"the system refuses to watch the directory ({why}), so it is looked at every second instead"
    remedy = "raise the limits fs.inotify.max_user_watches and fs.inotify.max_user_instances"
    return Complaint(id="directory-unwatched", severity=Severity.WARNING, cause=cause, remedy=remedy)


def _being_written(seconds: float) -> Complaint:
    cause = f"somebody has had it open for writing for {seconds:.0f} s; what it held last is kept"
    remedy = "let the writer close it; to replace a file at once, write another beside it and rename that"
    return Complaint(id="file-being-written", severity=Severity.INFO, cause=cause, remedy=remedy)
