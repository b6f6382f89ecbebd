"""The roots and intermediates in the certificate authority's directory: read as they are now, judged, made where they are missing or due.

An intermediate that came with its cert-chain.pem or root-cert.pem was brought by an operator, and is never replaced. No key is thrown away
but by the renewal of a certificate that was good until then.
"""

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cryptography import x509

from steersman.model.facts import Finding, FindingKey, Severity
from steersman.sources import ca_keys as keys
from steersman.sources.ca_files import Locked, Unusable, Unwritable, content, exposure_of, locked, replace_pair, settle_pair
from steersman.sources.ca_keys import Issuer, Lifetimes
from steersman.sources.report import Complaint

SOURCE = "ca"
_LONGEST_NAME = 200


class Place(NamedTuple):
    """Where an intermediate and the leaves that it signs are kept. `of`: whose it is, for people."""

    directory: Path
    of: str
    trust_domain: str

    @property
    def key(self) -> Path:
        return self.directory / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "ca-cert.pem"

    @property
    def chain(self) -> Path:
        return self.directory / "cert-chain.pem"

    @property
    def root(self) -> Path:
        return self.directory / "root-cert.pem"

    @property
    def leaves(self) -> Path:
        return self.directory / "leaves"


def place_of(directory: Path, cluster: str, trust_domain: str) -> Place:
    """Of a configured cluster. Its name becomes a directory's: quoted if it isn't plain, cut and told apart by a digest if it is long."""
    name = quote(cluster, safe="")
    if not name.strip("."):
        name = name.replace(".", "%2E")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}.{blake2b(cluster.encode(), digest_size=8).hexdigest()}"
    return Place(directory / "clusters" / name, f"cluster {cluster}", trust_domain)


class Intermediate(NamedTuple):
    """`chain`: PEM that follows a leaf. `ours`: nobody brought it, and here is a root's key to renew it."""

    issuer: Issuer
    chain: bytes
    ours: bool


class Problems:
    """Findings by their key."""

    def __init__(self) -> None:
        self.findings: dict[FindingKey, Finding] = {}

    def add(self, place: Path, about: str, complaint: Complaint) -> None:
        key = FindingKey(SOURCE, str(place), complaint.id, about)
        self.findings[key] = Finding(
            id=complaint.id,
            severity=complaint.severity,
            object=about,
            place=str(place),
            cause=complaint.cause,
            remedy=complaint.remedy,
        )

    def error(self, place: Path, about: str, finding: str, cause: str, remedy: str) -> None:
        self.add(place, about, Complaint(id=finding, severity=Severity.ERROR, cause=cause, remedy=remedy))

    def warning(self, place: Path, about: str, finding: str, cause: str, remedy: str) -> None:
        self.add(place, about, Complaint(id=finding, severity=Severity.WARNING, cause=cause, remedy=remedy))


class _Read:
    """What a look at the files found. `torn`: a key and a certificate don't go together, which a writer at work would explain as well.

    `missing`: intermediates of which there is no trace. `virgin`: there is no root, and nothing that an earlier one could have signed.
    """

    def __init__(self) -> None:
        self.root: Issuer | None = None
        self.roots: tuple[x509.Certificate, ...] = ()
        self.intermediates: dict[Place, Intermediate] = {}
        self.missing: list[Place] = []
        self.torn = False
        self.virgin = False
        self.problems = Problems()


class Authorities:
    """Roots and intermediates. One thread at a time.

    `roots`: all that are trusted, each once, in the order of the bundle. `busy`: another process was writing, so that this may change soon.
    """

    def __init__(self, directory: Path, trust_domain: str, lifetimes: Lifetimes) -> None:
        self.directory = directory
        self.roots: tuple[x509.Certificate, ...] = ()
        self.bundle = b""
        self.intermediates: Mapping[Place, Intermediate] = {}
        self.findings: Mapping[FindingKey, Finding] = {}
        self.busy = False
        self._trust_domain = trust_domain
        self._lifetimes = lifetimes
        self._root = directory / "root-cert.pem"
        self._root_key = directory / "root-key.pem"
        self._last: dict[Path, tuple[x509.Certificate, ...]] = {}

    def look(self, places: Iterable[Place], now: float, *, make: bool) -> None:
        """Reads everything; `make`: and makes what is missing or due."""
        places = tuple(places)
        self.busy = False
        found = self._read(places, now)
        if make and (found.torn or self._lacks(found, now)):
            try:
                with locked(self.directory):
                    found = self._make(places, now)
            except Locked:
                self.busy = True
            except Unwritable as error:
                unwritable(found.problems, self.directory, f"what is missing or due can't be made: {error}")
        self._judge_missing(found, now)
        bundle = keys.bundle_of(found.roots)
        if bundle != self.bundle:
            self.bundle, self.roots = bundle, keys.certificates_of(bundle) if bundle else ()
        self.intermediates = found.intermediates
        if not self.busy:  # else what seems wrong may be half written
            self.findings = found.problems.findings

    # --- making

    def _lacks(self, found: _Read, now: float) -> bool:
        if found.virgin:
            return True
        if found.root is None or not keys.is_valid(found.root.certificate, now):
            return False
        return bool(found.missing) or any(self._is_renewable(found.root, one, now) for one in found.intermediates.values())

    def _is_renewable(self, root: Issuer, intermediate: Intermediate, now: float) -> bool:
        """Whether another is due, by its age or because leaves would outlive it, and would last longer."""
        certificate = intermediate.issuer.certificate
        ends = keys.until_of(certificate)
        if not intermediate.ours or not (keys.is_due(certificate, now) or ends < now + self._lifetimes.leaf):
            return False
        return min(now + self._lifetimes.intermediate, keys.until_of(root.certificate)) > ends + 1

    def _make(self, places: tuple[Place, ...], now: float) -> _Read:
        """Under the lock, under which what was read without it is read again."""
        settle_pair(self._root_key, self._root)
        for place in places:
            settle_pair(place.key, place.certificate)
        found = self._read(places, now)
        if found.virgin:
            pair = keys.new_root(self._trust_domain, now, self._lifetimes)
            replace_pair(self._root_key, pair.key, self._root, pair.certificate)
            found = self._read(places, now)
        root = found.root
        if root is None or not keys.is_valid(root.certificate, now):
            return found
        due = [place for place, one in found.intermediates.items() if self._is_renewable(root, one, now)]
        for place in (*found.missing, *due):
            pair = keys.new_intermediate(root, place.trust_domain, place.of, now, self._lifetimes)
            replace_pair(place.key, pair.key, place.certificate, pair.certificate)
        return self._read(places, now) if found.missing or due else found

    # --- reading

    def _read(self, places: tuple[Place, ...], now: float) -> _Read:
        found = _Read()
        for path in (self.directory, self._root_key, *(place.key for place in places)):
            exposure = exposure_of(path)
            if exposure is not None:
                found.problems.add(path, "certificate authority", exposure)
        self._read_root(found, now)
        brought = [path for place in places for path in self._trusted(found, place.root, now)]
        for path in self._extra_roots(found):
            brought += self._trusted(found, path, now)
        found.roots = (*found.roots, *brought)
        for place in places:
            self._read_intermediate(found, place, now)
        return found

    def _read_root(self, found: _Read, now: float) -> None:
        kept = self._last.get(self._root, ())
        certificates = self._trusted(found, self._root, now)
        try:
            data = content(self._root_key)
            key = keys.key_of(data) if data is not None else None
        except Unusable as error:
            found.torn, key, data = True, None, b""
            self._root_unusable(found, self._root_key, str(error))
        if not certificates and not os.path.lexists(self._root):
            if kept:
                self._last[self._root] = certificates = kept
                cause = "the root is gone from the directory; it is still trusted until Steersman ends, and no other is made"
                found.problems.error(self._root, "root", "root-missing", cause, "restore root-cert.pem and root-key.pem from a copy")
            elif data:
                found.torn = True
                self._root_unusable(found, self._root, "there is a root-key.pem without it")
            elif self._is_virgin():
                found.virgin = True
        found.roots = certificates
        if not certificates or key is None:
            return
        if not keys.belong_together(certificates[0], key):
            found.torn = True
            self._root_unusable(found, self._root_key, "it isn't the key of the certificate in root-cert.pem")
            return
        found.root = Issuer(certificates[0], key)
        ends = keys.until_of(certificates[0])
        if now <= ends < now + self._lifetimes.intermediate:
            found.problems.warning(
                self._root,
                "root",
                "root-expiring",
                f"the root ends at {moment(ends)}, and what it signed with it; it is never replaced by itself",
                "put this certificate and a new root's into roots/; once every proxy has both, put the new pair in place of root-*.pem",
            )

    def _is_virgin(self) -> bool:
        try:
            return not any(self.directory.glob("clusters/*/ca-*.pem")) and not any(self.directory.glob("other/ca-*.pem"))
        except OSError:
            return False

    def _root_unusable(self, found: _Read, path: Path, cause: str) -> None:
        cause = f"{cause}, so that no intermediate can be signed"
        found.problems.error(path, "root", "root-unusable", cause, "restore the pair root-cert.pem and root-key.pem from a copy")

    def _extra_roots(self, found: _Read) -> list[Path]:
        directory = self.directory / "roots"
        try:
            paths = [path for path in directory.iterdir() if path.suffix == ".pem" and not path.name.startswith(".")]
        except FileNotFoundError:
            paths = []
        except OSError as error:
            cause = f"the directory can't be read: {error.strerror}; what it held last is still trusted"
            found.problems.error(directory, "roots", "trusted-root-unusable", cause, "make it readable for the user that Steersman runs as")
            return sorted(path for path in self._last if path.parent == directory)
        for gone in [path for path in self._last if path.parent == directory and path not in paths]:
            del self._last[gone]
        return sorted(paths)

    def _trusted(self, found: _Read, path: Path, now: float) -> tuple[x509.Certificate, ...]:
        """The roots in a file. One that can't be used says what it said last: to trust less because of a slip would cut the mesh."""
        try:
            data = content(path)
            if data is None:
                self._last.pop(path, None)
                return ()
            certificates = keys.certificates_of(data)
            if not all(keys.is_authority(certificate) for certificate in certificates):
                raise Unusable("it holds a certificate that may not sign others")
            self._last[path] = certificates
        except Unusable as error:
            held = "what it held last is still trusted" if path in self._last else "nothing in it is trusted"
            finding, remedy = "trusted-root-unusable", "restore it, or remove it"
            if path == self._root:
                finding, remedy = "root-unusable", "restore the pair root-cert.pem and root-key.pem from a copy"
                found.torn = True
            found.problems.error(path, "root", finding, f"{error}; {held}", remedy)
            certificates = self._last.get(path, ())
        for certificate in certificates:
            if not keys.is_valid(certificate, now):
                found.problems.error(path, "root", "root-not-valid", not_valid(certificate, now), "put a root in its place that is valid")
        return certificates

    def _read_intermediate(self, found: _Read, place: Place, now: float) -> None:
        about = f"intermediate of {place.of}"
        try:
            intermediate = self._intermediate(found, place)
        except Unusable as error:
            found.torn = True
            cause = f"{error}, so that no leaf can be signed; those that are there are served"
            remedy = "restore the files from a copy; or remove ca-key.pem, ca-cert.pem and cert-chain.pem, for a new one signed by the root"
            found.problems.error(place.directory, about, "intermediate-unusable", cause, remedy)
            return
        if intermediate is None:
            found.missing.append(place)
            return
        certificate = intermediate.issuer.certificate
        if not keys.is_valid(certificate, now) and not intermediate.ours:
            remedy = "put another in its place: ca-key.pem and ca-cert.pem (and cert-chain.pem, if there is one)"
            found.problems.error(place.certificate, about, "intermediate-not-valid", not_valid(certificate, now), remedy)
        elif keys.is_due(certificate, now) and not intermediate.ours:
            cause = f"it ends at {moment(keys.until_of(certificate))}; it isn't renewed by itself: it was brought, or no root's key is here"
            remedy = "put another in its place: ca-key.pem and ca-cert.pem (and cert-chain.pem, if there is one)"
            found.problems.warning(place.certificate, about, "intermediate-expiring", cause, remedy)
        found.intermediates[place] = intermediate

    def _intermediate(self, found: _Read, place: Place) -> Intermediate | None:
        key_data, data = content(place.key), content(place.certificate)
        if key_data is None and data is None:
            return None
        if key_data is None or data is None:
            raise Unusable(f"{place.key.name if key_data is None else place.certificate.name} is missing")
        key, certificate = keys.key_of(key_data), keys.certificates_of(data)[0]
        if not keys.belong_together(certificate, key):
            raise Unusable("ca-key.pem isn't the key of the certificate in ca-cert.pem")
        if not keys.is_authority(certificate):
            raise Unusable("ca-cert.pem holds a certificate that may not sign others")
        chain_data = content(place.chain)
        above = [one for one in keys.certificates_of(chain_data) if one != certificate] if chain_data is not None else []
        chain = (certificate, *(one for one in above if one.subject != one.issuer))
        if not keys.is_trusted(chain, found.roots):
            raise Unusable("no root that is trusted here has signed it")
        ours = chain_data is None and not os.path.lexists(place.root) and found.root is not None
        return Intermediate(Issuer(certificate, key), keys.pem_of(chain), ours)

    def _judge_missing(self, found: _Read, now: float) -> None:
        """What is still missing, though nobody is at work on it."""
        if self.busy or found.virgin or (found.root is not None and keys.is_valid(found.root.certificate, now)):
            return
        for place in found.missing:
            cause = "there is none, and no usable root key to sign one, so that no leaf can be signed"
            remedy = f"put ca-key.pem, ca-cert.pem, cert-chain.pem and root-cert.pem into {place.directory}"
            found.problems.error(place.directory, f"intermediate of {place.of}", "intermediate-missing", cause, remedy)


def unwritable(problems: Problems, directory: Path, cause: str) -> None:
    remedy = f"make {directory} writable for the user that Steersman runs as"
    problems.error(directory, "certificate authority", "ca-directory-unwritable", cause, remedy)


def not_valid(certificate: x509.Certificate, now: float) -> str:
    since, until = keys.since_of(certificate), keys.until_of(certificate)
    return f"it is valid from {moment(since)} until {moment(until)}, and now it is {moment(now)}"


def moment(seconds: float) -> str:
    return f"{keys.moment(seconds):%Y-%m-%dT%H:%M:%SZ}"
