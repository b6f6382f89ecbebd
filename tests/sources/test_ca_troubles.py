"""What people and machines do to the certificate authority's directory: each slip is told, and costs no more than it must."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

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
    DAY,
    HOUR,
    MESH,
    START,
    Clock,
    Served,
    below,
    certificates,
    check,
    contents,
    ends,
    first,
    leaf_key,
    moment,
    names,
    pem,
    server,
    until,
)
from tests.sources.listening import Listener, running

A, B = leaf_key("a"), leaf_key("b")
WEST = leaf_key("a", "west", "west.example")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ca"


@pytest.fixture
async def made(directory: Path, clock: Clock) -> Served:
    """What a server told that is gone; its directory is there, with leaves for A and WEST."""
    async with server(directory, clock, A, WEST) as served:
        await served.want(A, WEST)
    return served


def leaf_file(directory: Path, account: str = "a") -> Path:
    (found,) = (directory / "clusters" / "east" / "leaves").glob(f"default.{account}.*.pem")
    return found


def move(path: Path, target: Path) -> None:
    path.rename(target)


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


# --- brought by an operator, as Istio's cacerts


class Brought:
    """A root that stays elsewhere, a corporate authority under it, and RSA intermediates for clusters."""

    def __init__(self) -> None:
        self._keys = {name: rsa.generate_private_key(65537, 2048) for name in ("root", "corporate")}
        self.root = self._certificate("root", "root", self._keys["root"], None)
        self.corporate = self._certificate("corporate", "root", self._keys["corporate"], 1)

    def _certificate(self, subject: str, issuer: str, key: rsa.RSAPrivateKey, path_length: int | None, days: int = 300) -> x509.Certificate:
        usage = [name in ("key_cert_sign", "crl_sign") for name in USAGES]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment(START - HOUR))
            .not_valid_after(moment(START + days * DAY))
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(x509.KeyUsage(**dict(zip(USAGES, usage, strict=True))), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if subject != issuer:
            above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._keys[issuer].public_key())
            builder = builder.add_extension(above, critical=False)
        return builder.sign(self._keys[issuer], SHA256())

    def put(self, directory: Path, cluster: str, *, days: int = 300, issuer: str = "corporate") -> None:
        """The four files of a cacerts Secret."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = self._certificate(cluster, issuer, key, 0, days)
        place = directory / "clusters" / cluster
        place.mkdir(parents=True, mode=0o700)
        directory.chmod(0o700)
        files = {
            "ca-key.pem": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            "ca-cert.pem": pem(certificate),
            "cert-chain.pem": pem(certificate, self.corporate, self.root),
            "root-cert.pem": pem(self.root),
        }
        for name, data in files.items():
            (place / name).write_bytes(data)
            (place / name).chmod(0o600)


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@pytest.fixture(scope="module")
def brought() -> Brought:
    return Brought()


async def test_intermediates_in_istios_layout_sign_without_any_root_key(
    directory: Path, clock: Clock, brought: Brought, tmp_path: Path
) -> None:
    brought.put(directory, "east")
    brought.put(directory, "west")
    async with server(directory, clock, A, WEST) as served:
        await served.want(A, WEST)
        assert served.bundle == pem(brought.root)
        check(served.leaf(A), served.bundle, A.identity, clock.now, tmp_path / "scratch")
        check(served.leaf(WEST), served.bundle, WEST.identity, clock.now, tmp_path / "scratch")
        assert certificates(served.leaf(A).chain)[2:] == [brought.corporate], "all but the root, which peers have"
        assert served.listener.finding_ids() == []
    assert names(directory) == ["clusters", "lock"]


async def test_a_cluster_without_an_intermediate_and_no_root_key_to_sign_one_is_told(
    directory: Path, clock: Clock, brought: Brought
) -> None:
    brought.put(directory, "east")
    async with server(directory, clock, A, WEST) as served:
        await served.listener.until(lambda: A in served.leaves)
        await served.until_found("intermediate-missing")
        assert served.finding("intermediate-missing").object == "intermediate of cluster west"
        brought.put(directory, "west")
        await served.want(A, WEST)
        await served.until_found()


async def test_what_was_brought_is_not_renewed_but_told(directory: Path, clock: Clock, brought: Brought) -> None:
    brought.put(directory, "east", days=30)
    brought.put(directory, "west")
    place = contents(directory / "clusters" / "east")
    async with server(directory, clock, A) as served:
        clock.now = START + 25 * DAY
        await served.until_found("intermediate-expiring")
        clock.now = START + 29.5 * DAY
        await served.listener.until(lambda: A in served.leaves and ends(first(served.leaf(A))) == START + 30 * DAY)
        leaf = served.leaf(A)
        clock.now = START + 31 * DAY
        await served.until_found("intermediate-not-valid")
        assert served.leaf(A) == leaf, "an expired certificate says more than none"
    assert {name: data for name, data in contents(directory / "clusters" / "east").items() if "leaves" not in name} == place


@pytest.mark.parametrize("bare", [False, True])
async def test_beside_a_root_key_an_intermediate_is_brought_that_has_its_root_beside_it(
    directory: Path, clock: Clock, made: Served, brought: Brought, bare: bool
) -> None:
    east = directory / "clusters" / "east"
    move(east, directory / "aside")
    brought.put(directory, "east", days=30, issuer="root")
    (east / "cert-chain.pem").unlink()
    (directory / "roots").mkdir()
    (directory / "roots" / "corporate.pem").write_bytes((east / "root-cert.pem").read_bytes())
    if bare:
        (east / "root-cert.pem").unlink()
    certificate = (east / "ca-cert.pem").read_bytes()
    async with server(directory, clock, A) as served:
        await served.want(A)
        assert pem(certificates(served.leaf(A).chain)[1]) == certificate
        clock.now = START + 25 * DAY
        await served.listener.until(lambda: ends(first(served.leaf(A))) > clock.now)
        if bare:
            await until(lambda: (east / "ca-cert.pem").read_bytes() != certificate)
            await served.until_found()
        else:
            await served.until_found("intermediate-expiring")
            assert (east / "ca-cert.pem").read_bytes() == certificate


async def test_an_intermediate_of_a_root_that_is_not_there_signs_nothing(directory: Path, clock: Clock, brought: Brought) -> None:
    brought.put(directory, "east")
    brought.put(directory, "west")
    (directory / "clusters" / "east" / "root-cert.pem").unlink()
    (directory / "clusters" / "west" / "root-cert.pem").rename(directory / "root.pem")
    with pytest.raises(SourceError, match="no root that is trusted here has signed it"):
        await CertificateAuthority(directory, CLUSTERS, MESH, clock).run(Listener().emit)
    (directory / "roots").mkdir()
    (directory / "root.pem").rename(directory / "roots" / "corporate.pem")
    async with server(directory, clock, A) as served:
        await served.want(A)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "neither EC nor RSA",
        ),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "without a password",
        ),
    ],
)
async def test_a_key_of_a_kind_that_cannot_be_used_is_named(
    directory: Path, clock: Clock, brought: Brought, key: bytes, words: str
) -> None:
    brought.put(directory, "east")
    brought.put(directory, "west")
    (directory / "clusters" / "east" / "ca-key.pem").write_bytes(key)
    async with server(directory, clock, A) as served:
        await served.until_found("intermediate-unusable")
        assert words in served.finding("intermediate-unusable").cause


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
async def test_a_directory_without_write_permission_serves_what_it_holds(directory: Path, clock: Clock, made: Served) -> None:
    for path in [*below(directory), directory]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        async with server(directory, clock, A, WEST) as served:
            assert (served.bundle, served.leaves, served.listener.finding_ids()) == (made.bundle, made.leaves, [])
            served.authority.want(frozenset({A, B, WEST}))
            await served.until_found("ca-directory-unwritable")
    finally:
        for path in [directory, *below(directory)]:
            path.chmod(0o700)


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
