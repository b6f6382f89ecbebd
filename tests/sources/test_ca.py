"""The certificate authority as a source: what it tells, when, and that servers on one directory tell the same."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from steersman.model.config import ClusterConfig
from steersman.model.facts import Delete, LeafKey, Synced, Upsert
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import Kind
from steersman.sources.ca import CertificateAuthority, existing_facts
from steersman.sources.ca_keys import Lifetimes
from tests.sources.authority import (
    CLUSTERS,
    DAY,
    HOUR,
    MESH,
    START,
    WEST,
    A,
    B,
    Clock,
    below,
    certificates,
    check,
    contents,
    ends,
    first,
    leaf_key,
    modes,
    names,
    server,
    until,
)
from tests.sources.listening import Listener, running


async def test_an_empty_directory_gets_a_root_at_once_and_leaves_as_they_are_wanted(directory: Path, clock: Clock, tmp_path: Path) -> None:
    async with server(directory, clock) as served:
        root, synced = served.listener.batches[0]
        assert isinstance(root, Upsert)
        assert (root.kind, root.key, root.origin.source, root.origin.seen) == (Kind.ROOT, "", "ca", START)
        assert synced == Synced(source="ca")
        await served.want(A, WEST)
        check(served.leaf(A), served.bundle, A.identity, clock.now, tmp_path / "scratch")
        check(served.leaf(WEST), served.bundle, WEST.identity, clock.now, tmp_path / "scratch")
        origin = served.listener.origins[Kind.LEAF, A]
        assert origin.source == "ca"
        assert contents(directory)[origin.place.removeprefix(f"{directory}/")] == served.leaf(A).key + served.leaf(A).chain
        assert served.listener.finding_ids() == []


async def test_a_leaf_is_an_svid_followed_by_its_clusters_intermediate(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A, B, WEST) as served:
        await served.want(A, B, WEST)
        leaf, intermediate = certificates(served.leaf(A).chain)
        (root,) = certificates(served.bundle)
        assert certificates(served.leaf(B).chain)[1] == intermediate != certificates(served.leaf(WEST).chain)[1]
    assert served.leaf(A).key.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert list(leaf.subject) == []
    assert (leaf.not_valid_before_utc.timestamp(), ends(leaf)) == (START - 300, START + DAY)
    assert ends(intermediate) == START + 365 * DAY
    assert ends(root) == START + 3650 * DAY
    extensions = leaf.extensions
    assert {type(one.value) for one in extensions if one.critical} == {x509.SubjectAlternativeName, x509.BasicConstraints, x509.KeyUsage}
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign, usage.key_encipherment) == (True, False, False, False)
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    for lower, upper in ((leaf, intermediate), (intermediate, root)):
        identifier = lower.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert identifier == upper.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    constraints = [one.extensions.get_extension_for_class(x509.BasicConstraints) for one in (intermediate, root)]
    assert [(one.critical, one.value.ca, one.value.path_length) for one in constraints] == [(True, True, 0), (True, True, None)]
    for certificate in (leaf, intermediate, root):
        key = certificate.public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        assert isinstance(key.curve, SECP256R1)


async def test_a_restart_tells_the_same_bytes_at_once_and_writes_nothing(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A, WEST) as before:
        await before.want(A, WEST)
    files = contents(directory)
    clock.now += HOUR
    async with server(directory, clock, A, WEST) as after:
        assert [fact.kind for fact in after.listener.batches[0] if isinstance(fact, Upsert)] == [Kind.ROOT, Kind.LEAF, Kind.LEAF]
        assert isinstance(after.listener.batches[0][-1], Synced)
        assert (after.bundle, after.leaves) == (before.bundle, before.leaves)
        assert await after.listener.quiet(0.1) == []
    assert contents(directory) == files


async def test_a_leaf_that_is_wanted_no_more_is_gone_and_when_wanted_again_the_same(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A, B) as served:
        await served.want(A, B)
        leaf = served.leaf(A)
        await served.want(B)
        assert served.listener.batches[-1] == [Delete(kind=Kind.LEAF, key=A)]
        await served.want(A, B)
        assert served.leaf(A) == leaf


async def test_the_same_source_can_be_run_again_and_tells_everything_again(directory: Path, clock: Clock) -> None:
    authority = CertificateAuthority(directory, CLUSTERS, MESH, clock, poll=0.03)
    authority.want(frozenset({A}))
    async with running(authority.run) as before:
        await before.until(lambda: (Kind.LEAF, A) in before.values)
    async with running(authority.run) as after:
        await after.until(lambda: after.synced)
        assert after.values == before.values
        assert len(after.batches) == 1


async def test_proxies_of_no_configured_cluster_share_an_intermediate(directory: Path, clock: Clock, tmp_path: Path) -> None:
    nameless, stranger = leaf_key("a", ""), leaf_key("b", "../../elsewhere")
    async with server(directory, clock, nameless, stranger) as served:
        await served.want(nameless, stranger)
        check(served.leaf(stranger), served.bundle, stranger.identity, clock.now, tmp_path / "scratch")
        assert certificates(served.leaf(nameless).chain)[1] == certificates(served.leaf(stranger).chain)[1]
    assert names(directory) == ["clusters", "lock", "other", "root-cert.pem", "root-key.pem"]
    assert names(tmp_path) == ["scratch", "state"]


async def test_a_cluster_that_comes_has_its_own_intermediate_from_then_on_and_one_that_goes_has_none(
    directory: Path, clock: Clock, tmp_path: Path
) -> None:
    key = leaf_key("a", "north")
    with_north = [*CLUSTERS, ClusterConfig(name=ClusterID("north"))]
    async with server(directory, clock) as served:
        await served.want(key, A)
        others, own = served.leaf(key), served.leaf(A)
        served.authority.know(with_north)
        await until(lambda: served.leaf(key) != others)
        north = served.leaf(key)
        check(north, served.bundle, key.identity, clock(), tmp_path)
        assert "cluster north" in certificates(north.chain)[1].subject.rfc4514_string()
        assert served.leaf(A) == own
        served.authority.know(CLUSTERS)
        await until(lambda: served.leaf(key) == others)
        served.authority.know(with_north)
        await until(lambda: served.leaf(key) == north)


@pytest.mark.parametrize(
    "identity",
    ["spiffe://cluster.local/ns/dé/sa/a", "spiffe://cluster.local/ns/../sa/a", "spiffe://cluster.local/ns/a b/sa/a", "", "x" * 3000],
)
async def test_an_identity_that_no_certificate_can_name_costs_only_itself(directory: Path, clock: Clock, identity: str) -> None:
    bad = LeafKey(ClusterID("east"), SpiffeID(identity))
    async with server(directory, clock, bad, A) as served:
        await served.listener.until(lambda: A in served.leaves)
        await served.until_found("identity-unusable")
        assert identity in served.finding("identity-unusable").object
        await served.want(A)
        await served.until_found()


async def test_all_that_is_written_is_for_its_owner_only(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A) as served:
        await served.want(A)
    paths = [directory.parent, directory, *below(directory)]
    assert modes(path for path in paths if path.is_dir()) == {0o700}
    assert modes(path for path in paths if path.is_file()) == {0o600}
    assert [path for path in paths if path.name.endswith(".next")] == []


# --- several servers


async def test_servers_that_start_at_once_on_an_empty_directory_agree(directory: Path, clock: Clock) -> None:
    keys = [leaf_key(f"account-{number}", cluster) for number in range(40) for cluster in ("east", "west")]
    authorities = [CertificateAuthority(directory, CLUSTERS, MESH, clock, poll=0.03) for _ in range(3)]
    listeners = [Listener() for _ in authorities]
    for authority in authorities:
        authority.want(frozenset(keys))
    tasks = [asyncio.create_task(one.run(listener.emit)) for one, listener in zip(authorities, listeners, strict=True)]
    try:
        for listener in listeners:
            await listener.until(lambda listener=listener: len(listener.values) == 81)  # type: ignore[misc]
        assert listeners[0].values == listeners[1].values == listeners[2].values
        assert sum(len(listener.batches) for listener in listeners) < 80, "leaves are told in batches"
        for task, listener in zip(tasks, listeners, strict=True):
            assert not task.done()
            assert all(kind is not Kind.FINDING for batch in listener.batches for kind in [getattr(fact, "kind", None) for fact in batch])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


PROCESS = """
import asyncio, hashlib, json, sys
from pathlib import Path
from steersman.model.facts import Upsert
from steersman.sources.ca import CertificateAuthority
from tests.sources.authority import CLUSTERS, MESH, leaf_key

async def main():
    authority = CertificateAuthority(Path(sys.argv[1]), CLUSTERS, MESH, poll=0.1)
    authority.want(frozenset(leaf_key(f"account-{number}") for number in range(100)))
    values, done = {}, asyncio.Event()
    def emit(facts):
        values.update({f"{fact.kind} {fact.key}": repr(fact.value) for fact in facts if isinstance(fact, Upsert)})
        if len(values) == 101:
            done.set()
    task = asyncio.create_task(authority.run(emit))
    await asyncio.wait({task, asyncio.create_task(done.wait())}, return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps({key: hashlib.sha256(value.encode()).hexdigest() for key, value in values.items()}))
    task.cancel()

sys.stdin.read(1)
asyncio.run(main())
"""


def test_processes_that_start_at_once_on_an_empty_directory_agree(directory: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROCESS, str(directory)]
    processes = [subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.flush()
    said = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert len(said[0]) == 101
    assert said[0] == said[1]


# --- time


async def test_a_leaf_is_replaced_after_two_thirds_of_its_life_once_for_all_servers(directory: Path, clock: Clock, tmp_path: Path) -> None:
    async with server(directory, clock, A) as one, server(directory, clock, A) as other:
        await one.want(A)
        await other.want(A)
        before = one.leaf(A)
        clock.now = START + DAY * 2 / 3 - 400
        assert await one.listener.quiet(0.15) == []
        clock.now = START + DAY * 2 / 3 + 1
        for served in (one, other):
            await served.listener.until(lambda served=served: served.leaf(A) != before)  # type: ignore[misc]
        await asyncio.sleep(0.1)
        assert one.leaf(A) == other.leaf(A)
        assert one.leaf(A).key != before.key
        assert ends(first(one.leaf(A))) == clock.now // 1 + DAY
        assert certificates(one.leaf(A).chain)[1] == certificates(before.chain)[1]
        check(one.leaf(A), one.bundle, A.identity, clock.now, tmp_path / "scratch")
        check(before, one.bundle, A.identity, clock.now, tmp_path / "scratch")
        assert one.listener.finding_ids() == other.listener.finding_ids() == []
        told = [fact for batch in (*one.listener.batches, *other.listener.batches) for fact in batch if isinstance(fact, Upsert)]
        assert len([fact for fact in told if fact.kind is Kind.LEAF]) == 4, "each server told each leaf once"


async def test_an_intermediate_is_replaced_under_leaves_that_stay_as_they_are(directory: Path, clock: Clock, tmp_path: Path) -> None:
    async with server(directory, clock) as served:
        clock.now = START + 243 * DAY
        await served.want(A)
        before = served.leaf(A)
        clock.now = START + 243.4 * DAY
        certificate = directory / "clusters" / "east" / "ca-cert.pem"
        written = certificate.read_bytes()
        await served.want(A, B)
        assert certificate.read_bytes() != written
        assert served.leaf(A) == before
        check(before, served.bundle, A.identity, clock.now, tmp_path / "scratch")
        check(served.leaf(B), served.bundle, B.identity, clock.now, tmp_path / "scratch")
        assert certificates(served.leaf(B).chain)[1] == certificates(certificate.read_bytes())[0] != certificates(before.chain)[1]


async def test_after_any_time_asleep_nothing_that_is_served_has_expired_or_outlives_its_issuer(
    directory: Path, clock: Clock, tmp_path: Path
) -> None:
    lifetimes = Lifetimes(root=400 * DAY, intermediate=9 * DAY, leaf=2 * DAY)
    async with server(directory, clock, A, lifetimes=lifetimes) as served:
        await served.want(A)
        for hours in (1, 20, 31, 33, 47, 49, 100, 150, 215, 217, 500, 7, 7, 7, 30, 30, 1000, 30, 144, 24):
            clock.now += hours * HOUR
            await served.listener.until(lambda: ends(first(served.leaf(A))) - clock.now > 2 * DAY / 3 - 300)
            leaf, intermediate = certificates(served.leaf(A).chain)
            assert ends(leaf) <= ends(intermediate) <= START + 400 * DAY
            check(served.leaf(A), served.bundle, A.identity, clock.now, tmp_path / "scratch")


async def test_an_intermediate_is_replaced_early_enough_for_leaves_to_live_their_whole_life(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, lifetimes=Lifetimes(intermediate=9 * DAY, leaf=4 * DAY)) as served:
        for day in (0.1, 4.9, 5.5, 8, 12):
            clock.now = START + day * DAY
            await asyncio.sleep(0.1)
            await served.want(leaf_key(f"of-day-{day:g}"))
            assert ends(first(served.leaf(leaf_key(f"of-day-{day:g}")))) == clock.now // 1 + 4 * DAY


async def test_a_root_near_its_end_is_told_and_stays(directory: Path, clock: Clock, tmp_path: Path) -> None:
    async with server(directory, clock, A) as served:
        bundle = served.bundle
        clock.now = START + 3650 * DAY - 364 * DAY
        await served.until_found("root-expiring")
        clock.now = START + 3650 * DAY - HOUR
        await served.listener.until(lambda: A in served.leaves and ends(first(served.leaf(A))) == START + 3650 * DAY)
        check(served.leaf(A), served.bundle, A.identity, clock.now, tmp_path / "scratch")
        assert await served.listener.quiet(0.1) == [], "nothing is signed again that could not last longer"
        clock.now = START + 3650 * DAY + 1
        await served.until_found("root-not-valid")
        assert "until 2037-01-12T08:00:00Z" in served.finding("root-not-valid").cause
        assert served.bundle == bundle
        assert A in served.leaves


async def test_leaves_that_expired_and_nobody_wants_are_removed(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A, B) as served:
        await served.want(A, B)
        await served.want(A)
        files = directory / "clusters" / "east" / "leaves"
        (files / "notes.pem").write_text("not ours")
        clock.now += 12 * HOUR
        assert len(names(files)) == 3
        clock.now += 13 * HOUR
        await until(lambda: len(names(files)) == 2)
        assert [name.partition(".")[0] for name in names(files)] == ["default", "notes"]
        assert A in served.leaves


# --- without a server


def test_who_only_looks_makes_nothing(directory: Path, clock: Clock) -> None:
    assert existing_facts(directory, CLUSTERS, MESH, frozenset({A}), clock) == []
    assert not directory.exists()


async def test_who_only_looks_sees_what_a_server_made(directory: Path, clock: Clock) -> None:
    async with server(directory, clock, A) as served:
        await served.want(A)
    files = contents(directory)
    clock.now += 30 * DAY
    facts = existing_facts(directory, CLUSTERS, MESH, frozenset({A, B, WEST}), clock)
    assert {(fact.kind, fact.key): fact.value for fact in facts if isinstance(fact, Upsert)} == served.listener.values
    assert len(facts) == 2
    assert contents(directory) == files


async def test_the_bundle_is_sorted_by_der_and_each_root_stands_in_it_once(directory: Path, clock: Clock, tmp_path: Path) -> None:
    bundles = []
    for name in ("one", "two", "three"):
        async with server(tmp_path / name, clock) as served:
            bundles.append(served.bundle)
    async with server(directory, clock) as served:
        own = served.bundle
        roots = directory / "roots"
        roots.mkdir()
        (roots / "a.pem").write_bytes(bundles[0] + own)
        (roots / "b.pem").write_bytes(b"a comment\n" + bundles[1] + bundles[2] + bundles[0])
        (roots / "notes.txt").write_bytes(b"no root")
        await served.listener.until(lambda: len(certificates(served.bundle)) == 4)
        ders = [root.public_bytes(Encoding.DER) for root in certificates(served.bundle)]
        assert ders == sorted(ders)
        assert set(certificates(served.bundle)) == {root for bundle in (own, *bundles) for root in certificates(bundle)}
        (roots / "a.pem").write_bytes(b"")
        await served.until_found("trusted-root-unusable")
        (roots / "b.pem").unlink()
        await served.listener.until(lambda: len(certificates(served.bundle)) == 2)
        (roots / "a.pem").unlink()
        await served.listener.until(lambda: served.bundle == own)
        assert served.listener.finding_ids() == []
