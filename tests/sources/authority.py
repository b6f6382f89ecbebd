"""A certificate authority under test: a clock that tests move, servers on its directory, and an opinion of its own on what they serve."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Finding, Leaf, LeafKey
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import Kind
from steersman.sources.ca import CertificateAuthority
from steersman.sources.ca_keys import Lifetimes
from tests.sources.listening import Listener, running

HOUR = 3600.0
DAY = 24 * HOUR
START = 1_800_000_000.0
CLUSTERS = (ClusterConfig(name=ClusterID("east")), ClusterConfig(name=ClusterID("west"), trust_domain="west.example"))
MESH = MeshConfig()


class Clock:
    """Wall clock seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def leaf_key(account: str, cluster: str = "east", domain: str = "cluster.local") -> LeafKey:
    return LeafKey(ClusterID(cluster), SpiffeID(f"spiffe://{domain}/ns/default/sa/{account}"))


A, B = leaf_key("a"), leaf_key("b")
WEST = leaf_key("a", "west", "west.example")


class Served:
    """What one server tells."""

    def __init__(self, authority: CertificateAuthority, listener: Listener) -> None:
        self.authority = authority
        self.listener = listener

    @property
    def bundle(self) -> bytes:
        found = self.listener.values[Kind.ROOT, ""].bundle
        assert isinstance(found, bytes)
        return found

    def leaf(self, key: LeafKey) -> Leaf:
        leaf = self.listener.values[Kind.LEAF, key]
        assert isinstance(leaf, Leaf)
        return leaf

    @property
    def leaves(self) -> dict[LeafKey, Leaf]:
        return {key: value for (kind, key), value in self.listener.values.items() if kind is Kind.LEAF}

    def finding(self, known_as: str) -> Finding:
        (found,) = (finding for finding in self.listener.findings() if finding.id == known_as)
        return found

    async def want(self, *keys: LeafKey) -> None:
        """Until they, and no others, are there."""
        self.authority.want(frozenset(keys))
        await self.listener.until(lambda: self.leaves.keys() == set(keys))

    async def until_found(self, *ids: str) -> None:
        await self.listener.until(lambda: self.listener.finding_ids() == sorted(ids))


@asynccontextmanager
async def server(directory: Path, clock: Clock, *keys: LeafKey, lifetimes: Lifetimes | None = None) -> AsyncIterator[Served]:
    """One that wants these leaves from the start, once it has synced."""
    authority = CertificateAuthority(directory, CLUSTERS, MESH, clock, lifetimes, poll=0.03)
    authority.want(frozenset(keys))
    async with running(authority.run) as listener:
        await listener.until(lambda: listener.synced)
        yield Served(authority, listener)


def certificates(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def first(leaf: Leaf) -> x509.Certificate:
    return certificates(leaf.chain)[0]


def ends(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def check(leaf: Leaf, bundle: bytes, identity: str, now: float, scratch: Path) -> None:
    """As a peer does it: OpenSSL builds the chain for either purpose at this time; the key is the certificate's, and so is the identity."""
    scratch.mkdir(exist_ok=True)
    (scratch / "bundle.pem").write_bytes(bundle)
    (scratch / "chain.pem").write_bytes(leaf.chain)
    for purpose in ("sslclient", "sslserver"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(now)), "-CAfile", "bundle.pem"]
        ran = subprocess.run([*command, "-untrusted", "chain.pem", "chain.pem"], cwd=scratch, capture_output=True, text=True, check=False)
        assert ran.stdout == "chain.pem: OK\n", ran.stdout + ran.stderr
    certificate = first(leaf)
    assert certificate.public_key() == load_pem_private_key(leaf.key, None).public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [identity]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def pem(*found: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in found)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def below(directory: Path) -> list[Path]:
    """Everything below a directory."""
    return sorted(directory.rglob("*"))


def names(directory: Path) -> list[str]:
    """What stands in a directory."""
    return sorted(path.name for path in directory.iterdir())


def move(path: Path, target: Path) -> None:
    """Outside of coroutines, which are not to touch files."""
    path.rename(target)


def modes(paths: Iterable[Path]) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in paths}


async def until(what: Callable[[], object]) -> None:
    """Waits for what nobody tells."""
    async with asyncio.timeout(8):
        for _ in iter(what, True):
            await asyncio.sleep(0.02)
