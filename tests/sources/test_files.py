"""Directories that are watched: what is told when files change, break, and come back."""

import asyncio
import os
import random
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from steersman.model.facts import Severity, Synced
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.sources import files, filesystem
from steersman.sources.files import FileSource, read_directory
from steersman.sources.parser import Parser, ParserFailed
from steersman.sources.texts import BrokenText, Format
from tests.sources.listening import Listener, running
from tests.sources.manifests import as_json, documents, listed, pod

EAST = ClusterID("east")


def source(path: Path, **more: Path) -> FileSource:
    return FileSource({EAST: path, **{ClusterID(name): directory for name, directory in more.items()}})


def replace(path: Path, text: str) -> None:
    """As careful writers do: another file, then a rename."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.rename(path)


def ip_of(listener: Listener, name: str) -> str | None:
    row = listener.values.get((Kind.POD, ObjectKey(EAST, "ns", name)))
    return row.ips[0] if row else None


async def test_all_of_a_directory_is_told_first_in_one_batch_that_ends_with_synced(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a"), pod("b")))
    (tmp_path / "b.json").write_text(as_json(pod("c")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        assert len(listener.batches) == 1
        assert listener.batches[0][-1] == Synced(source="east")
        assert listener.names(Kind.POD) == ["a", "b", "c"]
        assert await listener.quiet() == []


async def test_an_empty_directory_is_synced(tmp_path: Path) -> None:
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        assert list(listener.batches[0]) == [Synced(source="east")]


@pytest.mark.parametrize(("name", "write"), [("a.yaml", documents), ("a.json", as_json), ("a.yml", listed)])
async def test_a_change_tells_what_changed_and_nothing_else(tmp_path: Path, name: str, write: Callable[..., str]) -> None:
    (tmp_path / name).write_text(write(pod("a"), pod("b"), pod("c")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        replace(tmp_path / name, write(pod("a"), pod("b", ip="10.0.0.9"), pod("c")))
        await listener.until(lambda: ip_of(listener, "b") == "10.0.0.9")
        (tmp_path / name).write_text(write(pod("a"), pod("b", ip="10.0.0.9")))
        await listener.until(lambda: ip_of(listener, "c") is None)
        (tmp_path / name).unlink()
        await listener.until(lambda: not listener.values)
        assert [len(batch) for batch in listener.batches[1:]] == [1, 1, 2]


async def test_a_change_of_what_matters_to_nobody_moves_only_the_origin(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        key = (Kind.POD, ObjectKey(EAST, "ns", "a"))
        before = listener.values[key]
        replace(tmp_path / "a.yaml", "# a word\n" + documents(pod("a")))
        await listener.until(lambda: listener.origins[key].place.endswith("a.yaml:2"))
        assert listener.values[key] == before
        (tmp_path / "a.yaml").touch()
        replace(tmp_path / "a.yaml", "# b word\n" + documents(pod("a")))
        assert await listener.quiet() == []


async def test_a_broken_file_keeps_its_last_good_objects_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a"), pod("b")))
    (tmp_path / "other.yaml").write_text(documents(pod("c")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        (tmp_path / "a.yaml").write_text(documents(pod("a", ip="10.0.0.9")) + "---\nkind: [\n")
        await listener.until(listener.findings)
        assert (ip_of(listener, "a"), ip_of(listener, "b")) == ("10.0.0.1", "10.0.0.1")
        assert [(found.id, found.place) for found in listener.findings()] == [("file-unparsable", f"{tmp_path}/a.yaml:10")]
        replace(tmp_path / "other.yaml", documents(pod("c", ip="10.0.0.8")))
        await listener.until(lambda: ip_of(listener, "c") == "10.0.0.8")
        (tmp_path / "a.yaml").write_text(documents(pod("a", ip="10.0.0.9")))
        await listener.until(lambda: not listener.findings())
        assert (ip_of(listener, "a"), ip_of(listener, "b")) == ("10.0.0.9", None)


async def test_a_file_that_breaks_and_becomes_what_it_was_is_good_again(tmp_path: Path) -> None:
    good = documents(pod("a"))
    (tmp_path / "a.yaml").write_text(good)
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        replace(tmp_path / "a.yaml", "kind: [")
        await listener.until(listener.findings)
        replace(tmp_path / "a.yaml", good)
        await listener.until(lambda: not listener.findings())
        replace(tmp_path / "a.yaml", "kind: [")
        await listener.until(listener.findings)
        (tmp_path / "a.yaml").unlink()
        await listener.until(lambda: not listener.values)


async def test_a_file_is_not_read_while_somebody_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BUSY_QUIET", 60.0)
    text = documents(pod("a"), pod("b"))
    (tmp_path / "a.yaml").write_text(text)
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        with (tmp_path / "a.yaml").open("w") as file:
            await asyncio.sleep(0.3)
            for half in (text[:60], text[60:]):
                file.write(half.replace("10.0.0.1", "10.0.0.2"))
                file.flush()
                await asyncio.sleep(0.2)
            assert len(listener.batches) == 1
        await listener.until(lambda: ip_of(listener, "b") == "10.0.0.2")
        assert len(listener.batches) == 2


async def test_a_file_that_stays_open_but_is_not_written_any_more_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        with (tmp_path / "a.yaml").open("w") as file:
            file.write(documents(pod("a", ip="10.0.0.2")))
            file.flush()
            await listener.until(lambda: ip_of(listener, "a") == "10.0.0.2", timeout=5)


async def test_an_empty_file_that_stays_open_keeps_what_it_held_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        with (tmp_path / "a.yaml").open("w") as file:
            await listener.until(listener.findings)
            assert listener.finding_ids() == ["file-cut-short"]
            assert ip_of(listener, "a") == "10.0.0.1"
            file.write(documents(pod("b")))
        await listener.until(lambda: (listener.names(Kind.POD), listener.findings()) == (["b"], []))


async def test_a_file_that_is_written_for_ever_keeps_what_it_held_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BUSY_REPORTED", 0.2)
    text = documents(pod("a", ip="10.0.0.2"))
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        with (tmp_path / "a.yaml").open("w") as file:
            while not listener.findings():
                file.write("# still writing\n")
                file.flush()
                await asyncio.sleep(0.05)
            assert [(found.id, found.severity) for found in listener.findings()] == [("file-being-written", Severity.INFO)]
            assert ip_of(listener, "a") == "10.0.0.1"
            file.write(text)
        await listener.until(lambda: (ip_of(listener, "a"), listener.findings()) == ("10.0.0.2", []))


async def test_where_nobody_knows_who_is_writing_files_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_is_open_for_writing", lambda _: True)  # as on a network file system, which refuses every lease
    monkeypatch.setattr(files, "_BUSY_QUIET", 60.0)
    for name in ("old.yaml", "a.yaml"):
        (tmp_path / name).write_text(documents(pod(name.removesuffix(".yaml"))))
    os.mkfifo(tmp_path / "older.yaml")
    os.utime(tmp_path / "old.yaml", (1e9, 1e9))
    os.utime(tmp_path / "older.yaml", (1e8, 1e8))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        replace(tmp_path / "a.yaml", documents(pod("a", ip="10.0.0.2")))
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.2")


async def test_a_file_whose_writer_stopped_half_way_keeps_what_it_held(tmp_path: Path) -> None:
    text = documents(pod("a"), pod("b", ip="10.0.0.21"))
    (tmp_path / "a.yaml").write_text(text)
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        for half in ("", text[:-2], text[: text.index("10.0.0.21") + 7], text[:20]):
            (tmp_path / "a.yaml").write_text(half)
            await listener.until(lambda: listener.finding_ids() == ["file-cut-short"])
            assert (ip_of(listener, "a"), ip_of(listener, "b")) == ("10.0.0.1", "10.0.0.21")
            (tmp_path / "a.yaml").write_text(text)
            await listener.until(lambda: not listener.findings())
        (tmp_path / "a.yaml").write_text(documents(pod("a")))
        await listener.until(lambda: ip_of(listener, "b") is None)
        assert listener.findings() == []


async def test_directories_come_and_go_with_their_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with running(source(root).run) as listener:
        await listener.until(lambda: listener.synced)
        (root / "new" / "deep").mkdir(parents=True)
        (root / "new" / "deep" / "a.yaml").write_text(documents(pod("a")))
        await listener.until(lambda: listener.names(Kind.POD) == ["a"])
        (root / "new" / "deep" / "b.yaml").write_text(documents(pod("b")))
        await listener.until(lambda: listener.names(Kind.POD) == ["a", "b"])
        (root / "new").rename(root / "moved")
        await listener.until(lambda: listener.origins[Kind.POD, ObjectKey(EAST, "ns", "a")].place == f"{root}/moved/deep/a.yaml:1")
        (root / "moved" / "deep" / "b.yaml").unlink()
        await listener.until(lambda: listener.names(Kind.POD) == ["a"])
        (root / "moved").rename(tmp_path / "out")
        await listener.until(lambda: listener.names(Kind.POD) == [])
        (tmp_path / "out").rename(root / "back")
        await listener.until(lambda: listener.names(Kind.POD) == ["a"])
        await asyncio.to_thread(shutil.rmtree, root / "back")
        await listener.until(lambda: listener.names(Kind.POD) == [])
        assert listener.findings() == []


async def test_a_file_that_is_renamed_moves_its_objects_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
        await listener.until(lambda: listener.origins[Kind.POD, ObjectKey(EAST, "ns", "a")].place.endswith("b.yaml:1"))
        assert len(listener.batches) == 2
        (tmp_path / "b.yaml").rename(tmp_path / "b.yaml.off")
        await listener.until(lambda: not listener.values)


async def test_a_volume_of_a_config_map_changes_all_at_once(tmp_path: Path) -> None:
    def version(number: int) -> None:
        made = tmp_path / f"..{number}"
        made.mkdir()
        for name in ("a", "b"):
            (made / f"{name}.yaml").write_text(documents(pod(name, ip=f"10.0.0.{number}")))
        (tmp_path / "..data_tmp").symlink_to(made.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    version(1)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        version(2)
        await asyncio.to_thread(shutil.rmtree, tmp_path / "..1")
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.2")
        assert ip_of(listener, "b") == "10.0.0.2"
        assert [sorted(type(fact).__name__ for fact in batch) for batch in listener.batches[1:]] == [["Upsert", "Upsert"]]


async def test_the_younger_of_two_files_with_one_object_takes_over_when_the_older_goes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("x", ip="10.0.0.1", created="2026-01-02T00:00:00Z")))
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        (tmp_path / "b.yaml").write_text(documents(pod("x", ip="10.0.0.2", created="2026-01-01T00:00:00Z")))
        await listener.until(lambda: ip_of(listener, "x") == "10.0.0.2")
        (found,) = listener.findings()
        assert (found.id, found.place) == ("duplicate-object", f"{tmp_path}/a.yaml:1")
        assert f"{tmp_path}/b.yaml:1" in found.cause
        (tmp_path / "b.yaml").unlink()
        await listener.until(lambda: ip_of(listener, "x") == "10.0.0.1")
        assert listener.findings() == []


async def test_a_directory_that_vanishes_keeps_what_it_held_until_it_is_back(tmp_path: Path) -> None:
    east, west = tmp_path / "east", tmp_path / "west"
    for path in (east, west):
        path.mkdir()
        (path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(east, west=west).run) as listener:
        await listener.until(lambda: sorted(listener.synced) == ["east", "west"])
        east.rename(tmp_path / "away")
        await listener.until(listener.findings)
        assert [(found.id, found.object) for found in listener.findings()] == [("directory-missing", str(east))]
        assert ip_of(listener, "a") == "10.0.0.1"
        replace(west / "b.yaml", documents(pod("b")))
        await listener.until(lambda: listener.names(Kind.POD) == ["a", "a", "b"])
        (tmp_path / "away").rename(east)
        await listener.until(lambda: not listener.findings())
        replace(east / "a.yaml", documents(pod("a", ip="10.0.0.2")))
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.2")
        east.rename(tmp_path / "for good")  # at once; were its files deleted one by one, they might be seen to go before it does
        await listener.until(lambda: listener.finding_ids() == ["directory-missing"])
        assert ip_of(listener, "a") == "10.0.0.2"
        east.mkdir()
        await listener.until(lambda: ip_of(listener, "a") is None)
        assert sorted(listener.synced) == ["east", "west"]


async def test_a_directory_that_is_another_one_now_is_read_anew(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"release-{number}").mkdir()
        (tmp_path / f"release-{number}" / "a.yaml").write_text(documents(pod("a", ip=f"10.0.0.{number}")))
    (tmp_path / "current").symlink_to("release-1")
    async with running(source(tmp_path / "current").run) as listener:
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.1")
        (tmp_path / "next").symlink_to("release-2")
        (tmp_path / "next").rename(tmp_path / "current")
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.2")
        replace(tmp_path / "release-2" / "a.yaml", documents(pod("a", ip="10.0.0.3")))
        await listener.until(lambda: ip_of(listener, "a") == "10.0.0.3")


async def test_a_directory_that_is_missing_at_the_start_is_synced_when_it_comes(tmp_path: Path) -> None:
    async with running(source(tmp_path / "later", west=tmp_path).run) as listener:
        await listener.until(lambda: listener.synced == ["west"] and listener.finding_ids() == ["directory-missing"])
        (tmp_path / "later").mkdir()
        await listener.until(lambda: listener.synced == ["west", "east"])
        assert listener.findings() == []


async def test_where_watching_is_refused_directories_are_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles.main, "RustNotify", refused)
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        (found,) = listener.findings()
        assert (found.id, found.severity) == ("directory-unwatched", Severity.WARNING)
        assert "OS file watch limit reached" in found.cause
        (tmp_path / "a.yaml").write_text(documents(pod("a")))
        await listener.until(lambda: listener.names(Kind.POD) == ["a"])
        (tmp_path / "a.yaml").unlink()
        await listener.until(lambda: listener.names(Kind.POD) == [])


async def test_two_clusters_may_share_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    async with running(source(tmp_path, west=tmp_path).run) as listener:
        await listener.until(lambda: len(listener.synced) == 2)
        replace(tmp_path / "a.yaml", documents(pod("b")))
        await listener.until(lambda: listener.names(Kind.POD) == ["b", "b"])


async def test_a_directory_that_is_slow_to_read_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, read_all = threading.Event(), files._read_all

    def reading(one: Any, paths: Any) -> Any:
        if one.cluster == EAST:
            slow.wait(8)
        return read_all(one, paths)

    monkeypatch.setattr(files, "_read_all", reading)
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(documents(pod(name)))
    async with running(source(tmp_path / "east", west=tmp_path / "west").run) as listener:
        try:
            await listener.until(lambda: listener.synced == ["west"])
            replace(tmp_path / "west" / "a.yaml", documents(pod("changed")))
            await listener.until(lambda: listener.names(Kind.POD) == ["changed"])
        finally:
            slow.set()
        await listener.until(lambda: listener.synced == ["west", "east"])
        assert listener.names(Kind.POD) == ["changed", "east"]


async def test_unknown_kinds_are_counted_by_cluster(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: apps/v1\nkind: Deployment\n")
    watched = source(tmp_path)
    async with running(watched.run) as listener:
        await listener.until(lambda: listener.synced)
        assert watched.ignored == {"east": {"apps/v1 Deployment": 2}}
        (tmp_path / "a.yaml").unlink()
        await listener.until(lambda: not listener.findings())
        assert watched.ignored == {"east": {}}


def children() -> set[str]:
    """Processes that this thread has started."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(documents(pod("a")))
    before = children()
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        assert len(children() - before) == 1
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert children() <= before
    await asyncio.sleep(0.1)
    assert [thread.name for thread in threading.enumerate() if "files" in thread.name] == []


async def test_a_parser_that_dies_costs_the_file_it_died_over() -> None:
    async with Parser() as parser:
        text = documents(pod("a")).encode()
        assert len(await parser.entries(Format.YAML, text, ())) == 1
        with pytest.raises(BrokenText, match="line 1"):
            await parser.entries(Format.YAML, b"[", ())
        process = parser._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        answer = asyncio.create_task(parser.entries(Format.YAML, text, ()))
        await asyncio.sleep(0.05)
        process.kill()
        with pytest.raises(ParserFailed, match="ended with -9"):
            await answer
        assert len(await parser.entries(Format.YAML, text, ())) == 1


async def test_a_parser_that_takes_too_long_is_ended() -> None:
    async with Parser(timeout=0.3) as parser:
        text = b"---\n".join([documents(pod("a")).encode()] * 20_000)
        with pytest.raises(ParserFailed, match=r"more than 0\.3 s"):
            await parser.entries(Format.YAML, text, ())
        assert parser._process is None


async def test_a_parser_answers_big_texts_in_many_pieces() -> None:
    async with Parser() as parser:
        objects = [pod(f"a{number}", note="x" * 1000) for number in range(1000)]
        found = await parser.entries(Format.JSON, as_json(*objects).encode(), ())
        assert len(found) == 1000
        assert await parser.entries(Format.JSON, as_json(*objects).encode(), {entry.digest for entry in found}) == [
            type(entry)(entry.digest, entry.line, None) for entry in found
        ]


def edit(root: Path, chance: random.Random) -> None:
    """One thing that people and programs do to files."""
    name = chance.choice(["a.yaml", "b.json", "d/c.yml", "d/e/f.yaml", "x.txt", ".y.yaml"])
    path = root / name
    objects = [
        pod(chance.choice("pqrs"), ip=f"10.0.0.{chance.randrange(4)}", created=chance.choice(["", "2026"]))
        for _ in range(chance.randrange(4))
    ]
    text = as_json(*objects) if name.endswith("json") else chance.choice([documents, listed])(*objects)
    match chance.randrange(8):
        case 0 | 1 | 2:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, text)
        case 3:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        case 4:
            path.unlink(missing_ok=True)
        case 5:
            shutil.rmtree(root / chance.choice(["d", "d/e", "g"]), ignore_errors=True)
        case 6:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(chance.choice(["kind: [", text[: len(text) // 2], ""]))
        case _:
            source_of, target = root / chance.choice(["d", "g"]), root / chance.choice(["d", "g"])
            if source_of.exists() and not target.exists():
                source_of.rename(target)


@pytest.mark.parametrize("seed", range(6))
async def test_any_edits_in_any_order_end_in_what_a_fresh_read_gives(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        for _ in range(60):
            edit(tmp_path, chance)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.02)
        for path in await asyncio.to_thread(lambda: sorted(tmp_path.rglob("*"))):
            if (
                path.suffix in (".yaml", ".yml", ".json") and path.is_file()
            ):  # what is broken at the end depends on what it held last, as it must
                replace(
                    path, as_json(pod("p", ip="10.0.0.7")) if path.suffix == ".json" else documents(pod("q"), pod(f"n{len(path.name)}"))
                )
        fresh = Listener()
        fresh.apply(read_directory(EAST, tmp_path, clock=lambda: 0.0))

        def told() -> bool:
            return listener.values == fresh.values and {key: origin.place for key, origin in listener.origins.items()} == {
                key: origin.place for key, origin in fresh.origins.items()
            }

        await listener.until(told, timeout=15)


@pytest.mark.alone
async def test_a_changed_file_is_told_within_milliseconds(tmp_path: Path) -> None:
    """The median of twenty changes; up to three times, as the machine may have been somebody else's meanwhile."""
    pods = [pod(f"pod-{number}", labels={"app": "reviews", "version": "v1"}, annotations={"note": "x" * 300}) for number in range(100)]
    addresses = (f"10.0.1.{number}" for number in range(1, 250))

    async def told_after(listener: Listener, name: str, write: Callable[..., str]) -> float:
        address = next(addresses)
        text = write(*pods[:50], pod("pod-50", ip=address), *pods[51:])
        assert len(text) > 45_000
        beside = tmp_path / f"{name}.new"
        beside.write_text(text)
        await asyncio.sleep(0.03)
        started = time.perf_counter()
        beside.rename(tmp_path / name)
        await listener.until(lambda: ip_of(listener, "pod-50") == address)
        return time.perf_counter() - started

    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        for name, write, most in [("a.json", as_json, 0.015), ("a.yaml", documents, 0.025), ("b.yaml", listed, 0.025)]:
            await told_after(listener, name, write)
            medians: list[float] = []
            while len(medians) < 3 and not (medians and medians[-1] < most):
                medians.append(statistics.median([await told_after(listener, name, write) for _ in range(20)]))
            assert medians[-1] < most, (name, medians)
            (tmp_path / name).unlink()
            await listener.until(lambda: not listener.names(Kind.POD))


@pytest.mark.alone
@pytest.mark.parametrize(("name", "write"), [("a.json", as_json), ("a.yaml", documents)])
async def test_ten_thousand_objects_at_once_do_not_hold_the_event_loop(tmp_path: Path, name: str, write: Callable[..., str]) -> None:
    count = 10_000
    text = write(*(pod(f"pod-{number}", ip=f"10.0.{number // 250}.{number % 250}") for number in range(count)))
    stretches: list[float] = []

    async def watch_the_loop() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            stretches.append(time.thread_time() - before)

    async with running(source(tmp_path).run) as listener:
        await listener.until(lambda: listener.synced)
        watch = asyncio.create_task(watch_the_loop())
        await asyncio.to_thread(replace, tmp_path / name, text)
        await listener.until(lambda: len(listener.values) == count, timeout=60)
        watch.cancel()
    assert len(listener.batches) == 2
    stretches.sort()
    assert stretches[-len(stretches) // 1000 - 5] < 0.02
