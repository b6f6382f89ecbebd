"""Intermediates that an operator brings, as the four files of Istio's `cacerts`."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from steersman.errors import SourceError
from steersman.sources.ca import CertificateAuthority
from tests.sources.authority import (
    CLUSTERS,
    DAY,
    HOUR,
    MESH,
    START,
    WEST,
    A,
    Clock,
    Served,
    certificates,
    check,
    contents,
    ends,
    first,
    moment,
    move,
    names,
    pem,
    server,
    until,
)
from tests.sources.listening import Listener


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
