"""Warm files on disk: written whole or not at all, by one server at a time, and each trouble with them told with its remedy."""

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steersman.model.clusters import ClusterState
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.sources.kube import warmstore
from steersman.sources.kube.warmfile import FORMAT, Kept, Section
from steersman.sources.kube.warmstore import WarmDirectory, WarmStore, header_of
from steersman.sources.pace import Leisure, Pace
from tests.support.mesh import pod

EAST = ClusterID("east")
HOUR = 3600.0
NOW = 1_800_000_000.0


@pytest.fixture
def directory(tmp_path: Path) -> WarmDirectory:
    return WarmDirectory(tmp_path / "state" / "warm", 24 * HOUR)


async def write(
    store: WarmStore, *names: str, uid: str = "u", contact: float = NOW - 5, now: float = NOW, leisure: Leisure | None = None
) -> bool:
    objects = [Kept(f"u-{name}", "5", pod(store.cluster, name, "10.0.0.1")) for name in names]
    header = header_of(store, uid, contact, ClusterState.SYNCED, now)
    return await store.write(header, [(Section(kind=Kind.POD, followed=contact), iter(objects))], Pace(), leisure)


async def read(store: WarmStore, uid: str = "", now: float = NOW) -> list[str] | None:
    """Names of the pods in the file; None: it is not used."""
    warm = await store.read(uid, now)
    return None if warm is None else [one.value.key.name for _, objects in warm.sections() for one in objects]


def complaint(store: WarmStore) -> str:
    assert store.complaint is not None
    return f"{store.complaint.id}: {store.complaint.cause}; {store.complaint.remedy}"


async def test_a_file_is_its_owners_alone_and_nothing_else_is_left(directory: WarmDirectory) -> None:
    store = directory.of(EAST)
    assert await read(store) is None
    assert store.complaint is None, "that there is none is no trouble"
    assert await write(store, "a", "b")
    assert await write(store, "c")
    assert await read(directory.of(EAST)) == ["c"]
    assert sorted(one.name for one in directory.path.iterdir()) == [".warm.lock", "east.warm"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in directory.path.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert (store.written, store.bytes) == (NOW, store.path.stat().st_size)


async def test_names_of_clusters_become_names_of_files(directory: WarmDirectory) -> None:
    names = [ClusterID(name) for name in ("..", "a%b", "gke:eu-1", "Ä" * 200, "Ä" * 201)]
    files = {directory.file(name) for name in names}
    assert len(files) == len(names)
    for name in names:
        assert await write(directory.of(name), "a")
    assert {one for one in directory.path.iterdir() if one.suffix == ".warm"} == files
    assert directory.others(names[1:]) == [directory.file(names[0])]
    assert WarmDirectory(directory.path / "nowhere", HOUR).others(names) == []


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def from_the_future(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"file %d\n" % FORMAT, b"file %d\n" % (FORMAT + 1)))


def named_otherwise(path: Path) -> None:
    (path.parent / "west.warm").rename(path)


def be_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (damage, "its checksum is wrong"),
        (lambda path: os.truncate(path, 100), "its checksum is wrong"),
        (lambda path: os.truncate(path, 0), "it is no warm file"),
        (from_the_future, f"it has format {FORMAT + 1}, another Steersman's"),
        (named_otherwise, "it is of cluster west"),
        (lambda path: path.chmod(0o622), "other users can write it"),
        (be_a_directory, "it can't be read: Is a directory"),
    ],
)
async def test_a_file_that_cannot_be_trusted_is_not_used(directory: WarmDirectory, harm: Callable[[Path], Any], why: str) -> None:
    await write(directory.of(ClusterID("west")), "a")
    store = directory.of(EAST)
    await write(store, "a")
    harm(store.path)
    assert await read(store) is None
    assert complaint(store).startswith("warm-file-unusable: ")
    assert why in complaint(store)
    if harm is not be_a_directory:
        assert await write(store, "b")
        assert store.complaint is None
        assert await read(store) == ["b"]


async def test_a_file_of_another_cluster_or_of_too_long_ago_is_not_used(directory: WarmDirectory) -> None:
    store = directory.of(EAST)
    await write(store, "a", uid="u-1", contact=NOW - HOUR)
    assert await read(store, uid="u-1") == ["a"]
    assert await read(store, uid="u-2") is None
    assert "another cluster behind this name (the uid of kube-system was u-1 and is u-2)" in complaint(store)
    assert await read(store, now=NOW + 22.9 * HOUR) == ["a"]
    assert await read(store, now=NOW + 23.1 * HOUR) is None
    assert "it is as of 2027-01-15T07:00:00Z, which is longer ago than warmStart.maxAge" in complaint(store)


async def test_of_two_servers_in_one_directory_the_second_only_reads_until_the_first_has_ended(directory: WarmDirectory) -> None:
    first, second = directory.of(EAST), WarmDirectory(directory.path, 24 * HOUR).of(EAST)
    assert await write(first, "a")
    assert not await write(second, "b")
    assert complaint(second).startswith(f"warm-file-unwritten: another server keeps its warm files in {directory.path}")
    assert await read(second) == ["a"]
    directory.close()
    assert await write(second, "b")
    assert second.complaint is None


async def test_where_nothing_can_be_written_that_is_told_and_what_was_there_stays(
    directory: WarmDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = directory.of(EAST)
    await write(store, "a")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert not await write(store, "b")
    assert (
        "No space left on device; a restart while the cluster's API is silent would find what was written 2027-01-15T08:00:00Z"
        in complaint(store)
    )
    assert "make room there" in complaint(store)
    assert await read(directory.of(EAST)) == ["a"]
    assert sorted(one.name for one in directory.path.iterdir()) == [".warm.lock", "east.warm"]
    assert await write(store, "b")
    assert store.complaint is None


async def test_a_directory_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = WarmDirectory(tmp_path / "file" / "warm", HOUR).of(EAST)
    assert not await write(store, "a")
    assert complaint(store).startswith(f"warm-file-unwritten: {tmp_path / 'file'}: Not a directory; a restart")
    assert await read(store) is None


async def test_a_directory_without_permission_is_told_with_the_setting_to_change(
    directory: WarmDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> int:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    store = directory.of(EAST)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert not await write(store, "a")
    assert "Read-only file system" in complaint(store)
    assert "warmStart.enabled: false" in complaint(store)


async def test_what_a_dead_writer_left_is_in_nobodys_way(directory: WarmDirectory) -> None:
    store = directory.of(EAST)
    directory.path.mkdir(parents=True)
    (directory.path / ".east.warm.next").write_text("half")
    assert await write(store, "a")
    assert await read(store) == ["a"]


async def test_files_tell_whose_secret_they_are_of_without_being_read_whole(directory: WarmDirectory) -> None:
    for name, holder in (("west", "east"), ("north", "south"), ("east", "")):
        store = directory.of(ClusterID(name))
        store.holder, store.place = holder, f"Secret {holder}/ns/{name}" if holder else ""
        assert await write(store, *(f"{name}-{number}" for number in range(2000)))
    (directory.path / "nonsense.warm").write_bytes(b"nonsense")
    (directory.path / "short.warm").write_bytes(directory.file(ClusterID("west")).read_bytes()[:40])
    (directory.path / "other.warm").write_bytes(directory.file(ClusterID("west")).read_bytes())
    found = [(one.cluster, one.place) for one in directory.held_by(["east", "elsewhere"])]
    assert found == [("west", "Secret east/ns/west")]


async def test_what_is_written_at_leisure_is_given_up_for_what_has_none(directory: WarmDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a server ends."""
    monkeypatch.setattr(warmstore, "_AT_ONCE", 1)
    store, names = directory.of(EAST), [str(number) for number in range(1000)]
    earlier = asyncio.create_task(write(store, *names, leisure=Leisure()))
    await asyncio.sleep(0)
    assert await write(store, "a", "b")
    assert not await earlier
    assert (await read(store), store.complaint) == (["a", "b"], None)
    ending = asyncio.create_task(write(store, *names))
    await asyncio.sleep(0)
    late = asyncio.create_task(write(store, "late", leisure=Leisure()))
    assert await ending, "nor is that given up for what comes later"
    assert await late
    assert await read(store) == ["late"]


async def test_files_of_several_clusters_are_written_at_once(directory: WarmDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def slowly(path: Any, *how: int) -> int:
        """So that each thread has the lock's file open before any has the lock."""
        descriptor = opened(path, *how)
        if str(path).endswith(".lock"):
            time.sleep(0.05)
        return descriptor

    monkeypatch.setattr(os, "open", slowly)
    stores = [directory.of(ClusterID(f"c{number}")) for number in range(4)]
    assert all(await asyncio.gather(*(write(store, "a") for store in stores)))
    assert [await read(store) for store in stores] == [["a"]] * 4
