"""What people and machines do to the certificate authority's directory: each slip is told, and costs no more than it must."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steersman.errors import SourceError
from steersman.model.config import ClusterConfig
from steersman.model.facts import Severity
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.sources import ca
from steersman.sources.ca import CertificateAuthority
from steersman.sources.ca_directory import CADirectory
from steersman.sources.ca_files import Unwritable, locked, replace_pair, settle_pair
from steersman.sources.ca_keys import Lifetimes
from tests.sources.authority import (
    CLUSTERS,
    HOUR,
    MESH,
    WEST,
    A,
    B,
    Clock,
    Served,
    below,
    certificates,
    check,
    contents,
    leaf_key,
    move,
    names,
    server,
)
from tests.sources.listening import Listener, running


def leaf_file(directory: Path, account: str = "a") -> Path:
    (found,) = (directory / "clusters" / "east" / "leaves").glob(f"default.{account}.*.pem")
    return found


def allow(path: Path, mode: int) -> None:
    path.chmod(mode)


# --- leaves


def spoilt_by_another_key(leaf: bytes, other: bytes) -> bytes:
    return other[: other.index(b"-----BEGIN CERT")] + leaf[leaf.index(b"-----BEGIN CERT") :]


BREAKS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda leaf, other: b"",
    "garbage": lambda leaf, other: b"\xff\x00 not PEM",
    "cut short": lambda leaf, other: leaf[: len(leaf) // 2],
    "without its key": lambda leaf, other: leaf[leaf.index(b"-----BEGIN CERT") :],
    "without its intermediate": lambda leaf, other: leaf[: leaf.rindex(b"-----BEGIN CERT")],
    "another's": lambda leaf, other: other,
    "with another's key": spoilt_by_another_key,
}


@pytest.mark.parametrize("how", BREAKS)
async def test_a_leaf_file_that_is_broken_is_signed_anew_and_told(
    directory: Path, clock: Clock, made: Served, how: str, tmp_path: Path
) -> None:
    async with server(directory, clock, A, WEST, B) as served:
        await served.want(A, WEST, B)
        file = leaf_file(directory)
        file.write_bytes(BREAKS[how](file.read_bytes(), leaf_file(directory, "b").read_bytes()))
        await served.until_found("leaf-replaced")
        await served.listener.until(lambda: served.leaf(A) != made.leaf(A))
        check(served.leaf(A), served.bundle, A.identity, clock.now, tmp_path / "scratch")
        finding = served.finding("leaf-replaced")
        assert (finding.severity, finding.place) == (Severity.WARNING, str(file))
        assert A.identity in finding.object
        assert (served.leaf(WEST), served.bundle) == (made.leaf(WEST), made.bundle)
        clock.now += 20 * HOUR
        await served.until_found()


async def test_a_leaf_file_that_is_gone_is_signed_anew(directory: Path, clock: Clock, made: Served) -> None:
    async with server(directory, clock, A) as served:
        leaf_file(directory).unlink()
        await served.listener.until(lambda: served.leaf(A) != made.leaf(A))
        assert served.listener.finding_ids() == []


# --- roots and intermediates


async def test_a_key_that_is_not_its_certificates_costs_one_cluster_its_new_leaves(directory: Path, clock: Clock, made: Served) -> None:
    east, west = (directory / "clusters" / name for name in ("east", "west"))
    key = (east / "ca-key.pem").read_bytes()
    (east / "ca-key.pem").write_bytes((west / "ca-key.pem").read_bytes())
    other = leaf_key("b", "west", "west.example")
    async with server(directory, clock, A, B, WEST, other) as served:
        await served.listener.until(lambda: served.leaves.keys() == {A, WEST, other})
        assert served.leaf(A) == made.leaf(A)
        await served.until_found("intermediate-unusable")
        finding = served.finding("intermediate-unusable")
        assert (finding.severity, finding.object, finding.place) == (Severity.ERROR, "intermediate of cluster east", str(east))
        assert "ca-key.pem isn't the key of the certificate in ca-cert.pem" in finding.cause
        (east / "ca-key.pem").write_bytes(key)
        await served.want(A, B, WEST, other)
        await served.until_found()


@pytest.mark.parametrize("file", ["clusters/east/ca-cert.pem", "clusters/east/ca-key.pem"])
@pytest.mark.parametrize("how", ["gone", "garbage", "a leaf"])
async def test_an_intermediate_that_is_broken_is_told_and_never_replaced(
    directory: Path, clock: Clock, made: Served, file: str, how: str
) -> None:
    path = directory / file
    match how:
        case "gone":
            path.unlink()
        case "garbage":
            path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "a leaf":
            path.write_bytes(leaf_file(directory).read_bytes())
    files = contents(directory)
    async with server(directory, clock, A, B, WEST) as served:
        await served.until_found("intermediate-unusable")
        assert served.leaves == made.leaves
    assert contents(directory) == files


async def test_an_intermediate_that_was_removed_is_made_again(directory: Path, clock: Clock, made: Served, tmp_path: Path) -> None:
    for name in ("ca-cert.pem", "ca-key.pem"):
        (directory / "clusters" / "east" / name).unlink()
    async with server(directory, clock, A, B) as served:
        await served.want(A, B)
        assert served.leaf(A) == made.leaf(A)
        check(served.leaf(B), made.bundle, B.identity, clock.now, tmp_path / "scratch")


@pytest.mark.parametrize("data", [b"", b"garbage", None])
async def test_a_root_that_breaks_under_a_server_stays_trusted_and_is_never_replaced(
    directory: Path, clock: Clock, made: Served, data: bytes | None
) -> None:
    async with server(directory, clock, A) as served:
        for name in ("root-cert.pem", "root-key.pem"):
            if data is None:
                (directory / name).unlink()
            else:
                (directory / name).write_bytes(data)
        files = contents(directory)
        await served.listener.until(served.listener.findings)
        assert {finding.id for finding in served.listener.findings()} == {"root-missing" if data is None else "root-unusable"}
        await served.want(A, B)
        assert (served.bundle, served.leaf(A)) == (made.bundle, made.leaf(A))
        assert {name: data for name, data in contents(directory).items() if "leaves" not in name} == {
            name: data for name, data in files.items() if "leaves" not in name
        }


async def test_without_the_directory_all_goes_on_as_it_was(directory: Path, clock: Clock, made: Served, tmp_path: Path) -> None:
    async with server(directory, clock, A, WEST) as served:
        move(directory, tmp_path / "elsewhere")
        await served.listener.until(lambda: "root-missing" in served.listener.finding_ids())
        assert (served.bundle, served.leaves) == (made.bundle, made.leaves)
        assert (directory / "root-cert.pem").exists() is False


@pytest.mark.parametrize("present", [["root-cert.pem"], ["root-key.pem"], ["clusters"]])
async def test_a_root_is_made_only_where_nothing_tells_of_an_earlier_one(
    directory: Path, clock: Clock, made: Served, present: list[str]
) -> None:
    (directory / "root-cert.pem").write_bytes(b"spoilt")
    for name in ("root-cert.pem", "root-key.pem"):
        if name not in present:
            (directory / name).unlink()
    if "clusters" not in present:
        (directory / "clusters").rename(directory.parent / "clusters")
    files = contents(directory)
    with pytest.raises(SourceError, match=f"no root certificate in {directory}"):
        await CertificateAuthority(directory, CLUSTERS, MESH, clock).run(Listener().emit)
    assert contents(directory) == files


async def test_a_new_root_takes_over_while_whatever_is_served_is_trusted(
    directory: Path, clock: Clock, made: Served, tmp_path: Path
) -> None:
    async with server(tmp_path / "new", clock) as other:
        new = other.bundle
    roots, old = directory / "roots", (directory / "root-cert.pem").read_bytes()
    async with server(directory, clock, A) as one, server(directory, clock, A) as two:
        roots.mkdir()
        (roots / "old.pem").write_bytes(old)
        (roots / "new.pem").write_bytes(new)
        for served in (one, two):
            await served.listener.until(lambda served=served: len(certificates(served.bundle)) == 2)  # type: ignore[misc]
        for name in ("root-key.pem", "root-cert.pem"):
            (tmp_path / "new" / name).replace(directory / name)
        for name in ("ca-key.pem", "ca-cert.pem"):
            (directory / "clusters" / "east" / name).unlink()
        await one.want(A, B)
        await two.want(A, B)
        check(one.leaf(B), new, B.identity, clock.now, tmp_path / "scratch")
        check(one.leaf(A), old, A.identity, clock.now, tmp_path / "scratch")
        await asyncio.sleep(0.1)
        assert one.leaves == two.leaves
        (roots / "old.pem").unlink()
        for served in (one, two):
            await served.listener.until(lambda served=served: served.bundle == new)  # type: ignore[misc]
            await served.listener.until(lambda served=served: served.leaf(A) != made.leaf(A))  # type: ignore[misc]
        await asyncio.sleep(0.1)
        assert one.leaves == two.leaves
        check(one.leaf(A), new, A.identity, clock.now, tmp_path / "scratch")


# --- the directory itself


async def test_keys_that_others_can_read_are_told_until_they_are_not(directory: Path, clock: Clock, made: Served) -> None:
    (directory / "root-key.pem").chmod(0o640)
    leaf_file(directory).chmod(0o604)
    allow(directory, 0o770)
    async with server(directory, clock, A) as served:
        await served.until_found("ca-file-exposed", "ca-file-exposed", "ca-file-exposed")
        remedies = [finding.remedy for finding in served.listener.findings()]
        assert sorted(remedies) == sorted(
            [f"chmod 700 {directory}", f"chmod 600 {directory / 'root-key.pem'}", f"chmod 600 {leaf_file(directory)}"]
        )
        for path in (directory / "root-key.pem", leaf_file(directory)):
            path.chmod(0o600)
        allow(directory, 0o700)
        await served.until_found()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_keys_that_belong_to_another_user_are_told(directory: Path, clock: Clock, made: Served) -> None:
    os.chown(directory / "clusters" / "east" / "ca-key.pem", 12345, -1)
    async with server(directory, clock, A) as served:
        await served.until_found("ca-file-foreign")
        assert "user 12345" in served.finding("ca-file-foreign").cause


def lock_out(directory: Path) -> None:
    """Makes the directory refuse writers, even of root."""
    (directory / "lock").unlink(missing_ok=True)
    (directory / "lock").mkdir(parents=True)


async def test_a_directory_that_cannot_be_written_and_holds_nothing_fails_with_its_path(directory: Path, clock: Clock) -> None:
    lock_out(directory)
    with pytest.raises(SourceError, match=f"{directory}/lock: Is a directory") as error:
        await CertificateAuthority(directory, CLUSTERS, MESH, clock).run(Listener().emit)
    assert f"make {directory} writable" in str(error.value)
    move(directory, directory.with_name("aside"))
    (directory.parent / directory.name).write_text("a file")
    with pytest.raises(SourceError, match=f"{directory}: Not a directory"):
        await CertificateAuthority(directory, CLUSTERS, MESH, clock).run(Listener().emit)


async def test_a_directory_that_cannot_be_written_serves_what_it_holds(directory: Path, clock: Clock, made: Served) -> None:
    lock_out(directory)
    async with server(directory, clock, A, WEST) as served:
        assert (served.bundle, served.leaves, served.listener.finding_ids()) == (made.bundle, made.leaves, [])
        served.authority.want(frozenset({A, B, WEST}))
        await served.until_found("ca-directory-unwritable")
        finding = served.finding("ca-directory-unwritable")
        assert B.identity in finding.cause
        assert f"{directory}/lock: Is a directory" in finding.cause
        assert served.leaves == made.leaves
        (directory / "lock").rmdir()
        await served.want(A, B, WEST)
        await served.until_found()


@contextmanager
def bound_by_permissions(directory: Path) -> Iterator[None]:
    """As a user who may read all of this directory and write none of it; root, who may do anything, is nobody meanwhile."""
    paths = [directory, *below(directory)]
    root = os.geteuid() == 0
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
        if root:
            os.chown(path, NOBODY, -1)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o700)


NOBODY = 65534


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that everyone may enter, which tmp_path is not."""
    with tempfile.TemporaryDirectory(prefix="ca-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


async def test_a_directory_without_write_permission_serves_what_it_holds(reachable: Path, clock: Clock) -> None:
    directory = reachable / "ca"
    async with server(directory, clock, A, WEST) as made:
        await made.want(A, WEST)
    with bound_by_permissions(directory):
        async with server(directory, clock, A, WEST) as served:
            assert (served.bundle, served.leaves, served.listener.finding_ids()) == (made.bundle, made.leaves, [])
            served.authority.want(frozenset({A, B, WEST}))
            await served.until_found("ca-directory-unwritable")
            assert f"{directory}" in served.finding("ca-directory-unwritable").cause
            assert served.leaves == made.leaves


async def test_whoever_holds_the_lock_is_waited_for_but_not_for_ever(
    directory: Path, clock: Clock, made: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca, "_PATIENCE", 0.4)
    descriptor = os.open(directory / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        async with server(directory, clock, A, WEST) as served:
            served.authority.want(frozenset({A, B, WEST}))
            assert await served.listener.quiet(0.2) == []
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            await served.want(A, B, WEST)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        authority = CertificateAuthority(directory, CLUSTERS, MESH, clock, poll=0.03)
        authority.want(frozenset({A, leaf_key("c")}))
        listener = Listener()
        with pytest.raises(SourceError, match=f"{directory}/lock"):
            await authority.run(listener.emit)
        assert listener.values[Kind.LEAF, A] == made.leaf(A), "what is there needs no lock"
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("cluster", ["..", ".", "a%2Fb", "\u65e5\u672c" * 60, "x" * 253, "EAST"])
async def test_a_cluster_of_any_name_has_a_place_in_the_directory(tmp_path: Path, clock: Clock, cluster: str) -> None:
    directory = tmp_path / "ca"
    configs = [ClusterConfig(name=ClusterID(cluster)), ClusterConfig(name=ClusterID(f"{cluster}x"))]
    authority = CertificateAuthority(directory, configs, MESH, clock, poll=0.03)
    keys = [leaf_key("a", config.name) for config in configs]
    authority.want(frozenset(keys))
    async with running(authority.run) as listener:
        await listener.until(lambda: all((Kind.LEAF, key) in listener.values for key in keys))
    assert names(tmp_path) == ["ca"]
    assert len(names(directory / "clusters")) == 2
    assert names(directory) == ["clusters", "lock", "root-cert.pem", "root-key.pem"]


# --- a writer at work, or dead


def test_what_another_signed_is_not_judged_by_whom_it_was_signed_by_before(directory: Path, clock: Clock, tmp_path: Path) -> None:
    mine, theirs = (CADirectory(directory, CLUSTERS, MESH, Lifetimes()) for _ in range(2))
    mine.look(frozenset({A}), clock.now, everything=True, sign=True)
    CADirectory(tmp_path / "new", CLUSTERS, MESH, Lifetimes()).look(frozenset(), clock.now, everything=True, sign=True)
    for name in ("root-key.pem", "root-cert.pem"):
        (tmp_path / "new" / name).replace(directory / name)
    for file in (directory / "clusters").glob("*/ca-*.pem"):
        file.unlink()
    found = theirs.look(frozenset({B}), clock.now, everything=True, sign=True)
    assert mine.look(frozenset({A, B}), clock.now, everything=False, sign=True).leaves[B] == found.leaves[B]


def test_what_is_half_written_is_no_finding_while_its_writer_has_the_lock(directory: Path, clock: Clock) -> None:
    reader = CADirectory(directory, CLUSTERS, MESH, Lifetimes())
    reader.look(frozenset(), clock.now, everything=True, sign=True)
    key = directory / "clusters" / "east" / "ca-key.pem"
    with locked(directory):
        key.write_bytes((directory / "clusters" / "west" / "ca-key.pem").read_bytes())
        view = reader.look(frozenset({A, WEST}), clock.now, everything=True, sign=True)
        assert (view.busy, view.findings) == (True, {})
    view = reader.look(frozenset({A, WEST}), clock.now, everything=True, sign=True)
    assert not view.busy
    assert {finding.id for finding in view.findings.values()} == {"intermediate-unusable"}
    assert view.leaves.keys() == {WEST}


def test_a_pair_is_of_one_generation_wherever_its_writer_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        pass

    key, certificate = tmp_path / "ca-key.pem", tmp_path / "ca-cert.pem"
    steps = 0
    left = 0

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal steps
            steps += 1
            if steps > left:
                raise Died
            return function(*args, **kwargs)

        return call

    generations = []
    for allowed in range(20):
        for file, data in ((key, b"old key"), (certificate, b"old certificate")):
            file.write_bytes(data)
        steps, left = 0, allowed
        with monkeypatch.context() as patch, locked(tmp_path):
            for owner, name in ((os, "open"), (os, "fsync"), (Path, "rename")):
                patch.setattr(owner, name, dying(getattr(owner, name)))
            try:
                replace_pair(key, b"new key", certificate, b"new certificate")
                survived = True
            except Died:
                survived = False
        with locked(tmp_path):
            settle_pair(key, certificate)
        generation = (key.read_bytes(), certificate.read_bytes())
        generations.append(generation)
        assert generation in {(b"old key", b"old certificate"), (b"new key", b"new certificate")}
        assert names(tmp_path) == ["ca-cert.pem", "ca-key.pem", "lock"]
        if survived:
            break
    else:
        pytest.fail("it never ends")
    assert generations[-1] == (b"new key", b"new certificate")
    assert generations == sorted(generations, reverse=True), "old until a step, new from it on"
    assert len(generations) > 6


def test_what_a_full_disk_cut_short_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "ca-key.pem", tmp_path / "ca-cert.pem"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with locked(tmp_path), pytest.raises(Unwritable, match="No space left on device"):
        replace_pair(key, b"key", certificate, b"certificate")
    with locked(tmp_path):
        settle_pair(key, certificate)
    assert names(tmp_path) == ["lock"]
