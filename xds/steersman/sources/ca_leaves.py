"""The leaves in the certificate authority's directory: found, or signed, and signed anew when they are due.

A leaf is one file, its key first and then its chain, so that a rename replaces both. Whoever needs one signed takes the lock and looks
again: another server that shares the directory may have been first.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from steersman.model.facts import Finding, FindingKey, Leaf, LeafKey
from steersman.model.ids import ClusterID, SpiffeID
from steersman.names import parse_spiffe_id
from steersman.sources import ca_keys as keys
from steersman.sources.ca_authorities import Authorities, Intermediate, Place, Problems, unwritable
from steersman.sources.ca_files import Locked, Unusable, Unwritable, content, exposure_of, locked, replace
from steersman.sources.ca_keys import Lifetimes
from steersman.sources.filesystem import Signature
from steersman.sources.report import Complaint, joined

_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
_LONGEST = 2048
"""SPIFFE ID, section 2: which characters one has, and how many at most."""
_AT_ONCE = 64
"""How many leaves are signed under the lock at a stretch: some 50 ms."""
_SIGN_AT_ONCE = 256
_READ_AT_ONCE = 1024
"""How many leaves are signed, and read, before they are told."""
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


class _Held(NamedTuple):
    """A leaf as its file has it. `chain`: PEM of what stands above it. `since`, `until`: wall clock seconds."""

    signature: Signature
    leaf: Leaf
    chain: bytes
    since: float
    until: float
    exposure: Complaint | None


class _Replaced(NamedTuple):
    """A file that was broken, and what stands in its place."""

    signature: Signature
    cause: str


class Leaves:
    """The leaves that are wanted. One thread at a time."""

    def __init__(self, authorities: Authorities, places: Mapping[ClusterID, Place], other: Place, lifetimes: Lifetimes) -> None:
        self._authorities = authorities
        self._places = places
        self._other = other
        self._lifetimes = lifetimes
        self._files: dict[LeafKey, Path] = {}
        self._held: dict[LeafKey, _Held] = {}
        self._broken: dict[LeafKey, str] = {}
        self._replaced: dict[LeafKey, _Replaced] = {}
        self._refused: set[LeafKey] = set()
        self._trusted: dict[bytes, bool] = {}
        self._trusted_by = b""
        self._unwritable = ""
        self.busy = False

    def know(self, places: Mapping[ClusterID, Place]) -> None:
        """The clusters from now on. Leaves that another intermediate signs thereby are looked for, and signed, where that is."""
        before, self._places = self._places, places
        for key in [key for key in self._files if before.get(key.cluster) != places.get(key.cluster)]:
            for known in (self._files, self._held, self._broken, self._replaced):
                known.pop(key, None)

    def places(self, wanted: Iterable[LeafKey]) -> set[Place]:
        """Whose intermediates these leaves take, beside those of the configured clusters."""
        return {self._place(key) for key in wanted} - set(self._places.values())

    def leaves(self) -> dict[LeafKey, Leaf]:
        """All that are there."""
        return {key: held.leaf for key, held in self._held.items()}

    def look(self, wanted: frozenset[LeafKey], *, everything: bool, patient: bool) -> bool:
        """Reads the files of wanted leaves: those that weren't wanted before, or all that have changed.

        `patient`: of those that weren't only so many at a time, so that what is found can be told; whether there are more.
        """
        new = wanted - self._files.keys() - self._refused
        left = max(0, len(new) - _READ_AT_ONCE) if patient else 0
        new = frozenset(islice(new, len(new) - left))
        for known in (self._files, self._held, self._broken, self._replaced):
            for key in known.keys() - wanted:
                known.pop(key)
        refused = {key for key in new if not _is_signable(key.identity)}
        self._refused = (self._refused & wanted) | refused
        for key in new - refused:
            self._files[key] = self._named(key)
        for key in tuple(self._files) if everything else new - refused:
            self._read(key)
        return left > 0

    def due(self, now: float) -> list[LeafKey]:
        """Those that have been looked for and can and should be signed now, those that are missing first."""
        due = [key for key in self._files if self._is_due(key, now)]
        return sorted(due, key=lambda key: (key in self._held, key.cluster, key.identity))

    def sign(self, due: list[LeafKey], now: float) -> bool:
        """Signs those of them that another hasn't signed meanwhile, up to so many; whether there is more to sign now. `busy`, afterwards:
        another process was writing."""
        self.busy, self._unwritable = False, ""
        if not due:
            return False
        try:
            for start in range(0, min(len(due), _SIGN_AT_ONCE), _AT_ONCE):
                with locked(self._authorities.directory):
                    for key in due[start : start + _AT_ONCE]:
                        self._sign(key, now)
        except Locked:
            self.busy = True
        except Unwritable as error:
            self._unwritable = f"{len(due)} certificates can't be signed, such as that of {due[0].identity}: {error}"
            return False
        return len(due) > _SIGN_AT_ONCE

    def prune(self, now: float) -> None:
        """Removes leaves that have expired and nobody wants here."""
        wanted = set(self._files.values())
        for place in (*self._places.values(), self._other):
            try:
                files = [path for path in place.leaves.iterdir() if path not in wanted and path.suffix == ".pem"]
            except OSError:
                continue
            expired = [path for path in files if _has_expired(path, now)]
            for start in range(0, len(expired), _AT_ONCE):
                try:
                    with locked(self._authorities.directory):
                        for path in expired[start : start + _AT_ONCE]:
                            if _has_expired(path, now):
                                path.unlink(missing_ok=True)
                except (Locked, Unwritable, OSError):
                    return

    def findings(self) -> dict[FindingKey, Finding]:
        problems = Problems()
        if self._unwritable:
            unwritable(problems, self._authorities.directory, self._unwritable)
        for key in self._refused:
            cause = "a certificate can't name this identity: SPIFFE allows letters, digits, '.', '-' and '_' in it, so that none is signed"
            remedy = "correct the proxy's namespace, its service account or the trust domain"
            problems.warning(Path(), f"certificate of {key.identity}", "identity-unusable", cause, remedy)
        for key, cause in self._broken.items():
            about, place = f"certificate of {key.identity}", self._place(key)
            problems.error(self.file(key), about, "leaf-unusable", cause, f"see to the intermediate of {place.of}, or remove the file")
        for key, replaced in self._replaced.items():
            cause = f"{replaced.cause}; it was signed anew"
            about = f"certificate of {key.identity}"
            problems.warning(
                self.file(key), about, "leaf-replaced", cause, "nothing, unless it happens again: then find who else writes there"
            )
        self._find_exposed(problems)
        return problems.findings

    def _find_exposed(self, problems: Problems) -> None:
        """One for each directory and kind."""
        exposed: dict[tuple[Path, str], list[Complaint]] = {}
        for key in sorted(
            (key for key, held in self._held.items() if held.exposure is not None), key=lambda key: (key.cluster, key.identity)
        ):
            exposure = self._held[key].exposure
            assert exposure is not None
            exposed.setdefault((self.file(key).parent, exposure.id), []).append(exposure)
        for (directory, finding), complaints in exposed.items():
            cause = joined([complaint.cause for complaint in complaints])
            problems.warning(directory, "certificates", finding, cause, complaints[0].remedy)

    # --- one leaf

    def _place(self, key: LeafKey) -> Place:
        return self._places.get(key.cluster, self._other)

    def file(self, key: LeafKey) -> Path:
        """Of a leaf that is wanted."""
        return self._files[key]

    def _named(self, key: LeafKey) -> Path:
        """Named for people by namespace and service account, and told apart by a digest."""
        parsed = parse_spiffe_id(key.identity)
        named = f"{parsed.namespace}.{parsed.service_account}." if parsed is not None else ""
        digest = blake2b(key.identity.encode(), digest_size=8).hexdigest()
        return self._place(key).leaves / f"{named[:200]}{digest}.pem"

    def _intermediate(self, key: LeafKey) -> Intermediate | None:
        return self._authorities.intermediates.get(self._place(key))

    def _is_due(self, key: LeafKey, now: float) -> bool:
        """Whether it is missing, can't be used or nears its end, and another can be had that lasts longer."""
        intermediate = self._intermediate(key)
        if intermediate is None or not keys.is_valid(intermediate.issuer.certificate, now):
            return False
        held = self._held.get(key)
        if held is None or not self._is_trusted(held.chain):
            return True
        age = now - held.since
        return (
            age >= (held.until - held.since) * keys.RENEWED_AFTER
            and keys.leaf_until(intermediate.issuer, now, self._lifetimes) > held.until + 1
        )

    def _is_trusted(self, chain: bytes) -> bool:
        """Whether a chain without its leaf ends at a root of today."""
        if self._trusted_by != self._authorities.bundle:
            self._trusted.clear()
            self._trusted_by = self._authorities.bundle
        if chain not in self._trusted:
            self._trusted[chain] = keys.is_trusted(keys.certificates_of(chain), self._authorities.roots)
        return self._trusted[chain]

    def _read(self, key: LeafKey) -> None:
        """Takes in the file as it is; what was known of it stays if it is the same. A file that breaks is as good as missing."""
        path = self.file(key)
        held = self._held.get(key)
        try:
            signature = Signature.of(path.stat())
            if held is not None and held.signature == signature:
                return
            data = content(path)
        except FileNotFoundError:
            data, signature = None, None
        except (OSError, Unusable) as error:
            self._break(key, f"it can't be read: {error}")
            return
        if data is None or signature is None:
            self._held.pop(key, None)
            self._broken.pop(key, None)
            return
        try:
            self._held[key] = _held(key.identity, data, signature, exposure_of(path))
        except Unusable as error:
            self._break(key, str(error))
            return
        self._broken.pop(key, None)
        replaced = self._replaced.get(key)
        if replaced is not None and replaced.signature != signature:
            del self._replaced[key]

    def _break(self, key: LeafKey, cause: str) -> None:
        self._held.pop(key, None)
        self._broken[key] = cause

    def _sign(self, key: LeafKey, now: float) -> None:
        """Under the lock."""
        self._read(key)
        intermediate = self._intermediate(key)
        if intermediate is None or not self._is_due(key, now):
            return
        cause = self._broken.get(key)
        pair = keys.new_leaf(intermediate.issuer, SpiffeID(key.identity), now, self._lifetimes)
        replace(self.file(key), pair.key + pair.certificate + intermediate.chain, durable=False)
        self._read(key)
        held = self._held.get(key)
        if cause is not None and held is not None:
            self._replaced[key] = _Replaced(held.signature, cause)


def _is_signable(identity: str) -> bool:
    return len(identity) <= _LONGEST and _SPIFFE_ID.fullmatch(identity) is not None


def _held(identity: str, data: bytes, signature: Signature, exposure: Complaint | None) -> _Held:
    """Raises Unusable."""
    start = data.find(_BEGIN_CERTIFICATE)
    if start <= 0:
        raise Unusable("it isn't a key followed by its certificate and those above it")
    above = data.find(_BEGIN_CERTIFICATE, start + 1)
    if above < 0:
        raise Unusable("its certificate isn't followed by the one that signed it")
    key = keys.key_of(data[:start])
    certificate, chain = keys.certificates_of(data[start:above])[0], _chain(data[above:])
    if not keys.belong_together(certificate, key):
        raise Unusable("its key and its certificate don't belong together")
    if keys.identity_of(certificate) != identity:
        raise Unusable("its certificate is of another identity")
    if not keys.is_issued_by(certificate, chain[0]):
        raise Unusable("its certificate isn't followed by the one that signed it")
    return _Held(
        signature,
        Leaf(chain=data[start:], key=data[:start]),
        data[above:],
        keys.since_of(certificate),
        keys.until_of(certificate),
        exposure,
    )


@lru_cache(maxsize=256)
def _chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Raises Unusable. Few differ: leaves of one intermediate share it."""
    return keys.certificates_of(pem)


def _has_expired(path: Path, now: float) -> bool:
    """False of what is no leaf, too: it isn't ours to remove."""
    try:
        data = content(path)
        return data is not None and keys.until_of(keys.certificates_of(data)[0]) < now
    except Unusable:
        return False
