"""Keys and certificates of the mesh: how they are made, and what makes one usable. No files, no clock: times are arguments, in seconds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from steersman.model.ids import SpiffeID
from steersman.sources.ca_files import Unusable

Key = EllipticCurvePrivateKey | RSAPrivateKey
"""We make EC keys on P-256; those that an operator brings may be RSA."""

_DAY = 86400.0
RENEWED_AFTER = 2 / 3
"""The part of its lifetime after which a certificate is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """Seconds that certificates are valid from their making; `backdate`: and before it, for clocks that are behind ours."""

    root: float = 3650 * _DAY
    intermediate: float = 365 * _DAY
    leaf: float = _DAY
    backdate: float = 300.0


class Issuer(NamedTuple):
    """What certificates are signed with."""

    certificate: x509.Certificate
    key: Key


class Pair(NamedTuple):
    """A new key and its certificate, in PEM."""

    key: bytes
    certificate: bytes


# --- making


def new_root(trust_domain: str, now: float, lifetimes: Lifetimes) -> Pair:
    """A self-signed root."""
    key = generate_private_key(SECP256R1())
    name = _name(trust_domain, "Steersman root CA")
    builder = _builder(name, name, key, now - lifetimes.backdate, now + lifetimes.root)
    return _signed(_authority(builder, key, None), key, key)


def new_intermediate(root: Issuer, trust_domain: str, of: str, now: float, lifetimes: Lifetimes) -> Pair:
    """An authority that signs leaves only; it doesn't outlive the root. `of`: whose it is, for people."""
    key = generate_private_key(SECP256R1())
    name = _name(trust_domain, f"Steersman intermediate CA of {of}")
    until = min(now + lifetimes.intermediate, until_of(root.certificate))
    builder = _builder(name, root.certificate.subject, key, max(now - lifetimes.backdate, since_of(root.certificate)), until)
    builder = _authority(builder, key, 0).add_extension(_authority_key_identifier(root.certificate), critical=False)
    return _signed(builder, key, root.key)


def new_leaf(issuer: Issuer, identity: SpiffeID, now: float, lifetimes: Lifetimes) -> Pair:
    """A workload's certificate, an X.509-SVID; it doesn't outlive its issuer."""
    key = generate_private_key(SECP256R1())
    until = leaf_until(issuer, now, lifetimes)
    since = max(now - lifetimes.backdate, since_of(issuer.certificate))
    builder = (
        _builder(x509.Name([]), issuer.certificate.subject, key, since, until)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_identifier(issuer.certificate), critical=False)
    )
    return _signed(builder, key, issuer.key)


def leaf_until(issuer: Issuer, now: float, lifetimes: Lifetimes) -> float:
    """When a leaf would end that is made now."""
    return min(now + lifetimes.leaf, until_of(issuer.certificate))


def _name(organization: str, common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _cut(organization)), x509.NameAttribute(NameOID.COMMON_NAME, _cut(common))]
    )


def _cut(text: str) -> str:
    """As much as either attribute may hold: 64 bytes of UTF-8."""
    return text.encode()[:64].decode(errors="ignore")


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, since: float, until: float) -> x509.CertificateBuilder:
    """X.509 counts whole seconds."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(since))
        .not_valid_after(moment(until))
    )


def _authority(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey, path_length: int | None) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        assert isinstance(key, EllipticCurvePublicKey | RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey, by: Key) -> Pair:
    certificate = builder.sign(by, SHA256())
    return Pair(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate.public_bytes(Encoding.PEM))


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(math.floor(seconds), UTC)


# --- reading and judging


def certificates_of(pem: bytes) -> tuple[x509.Certificate, ...]:
    """At least one. Raises Unusable."""
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in found:
            _ = certificate.extensions, certificate.public_key()  # parsed only when asked for
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Unusable(f"it holds no certificate that can be read ({_short(error)})") from error
    return found


def key_of(pem: bytes) -> Key:
    """Raises Unusable."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable(f"it holds no private key that can be read without a password ({_short(error)})") from error
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise Unusable("its private key is neither EC nor RSA")
    return key


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")


def since_of(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def until_of(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def is_valid(certificate: x509.Certificate, now: float) -> bool:
    return since_of(certificate) <= now <= until_of(certificate)


def is_due(certificate: x509.Certificate, now: float) -> bool:
    """Whether it is time to replace it."""
    since = since_of(certificate)
    return now >= since + (until_of(certificate) - since) * RENEWED_AFTER


def belong_together(certificate: x509.Certificate, key: Key) -> bool:
    return certificate.public_key() == key.public_key()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign certificates."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def identity_of(certificate: x509.Certificate) -> str:
    """Its only URI; empty if it has none, or several."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    return found[0] if len(found) == 1 else ""


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By name and by signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_trusted(chain: Sequence[x509.Certificate], roots: Iterable[x509.Certificate]) -> bool:
    """Whether each is issued by the next and the last by one of the roots, or is one itself."""
    if not all(is_issued_by(below, above) for below, above in pairwise(chain)):
        return False
    return any(chain[-1] == root or is_issued_by(chain[-1], root) for root in roots)


def bundle_of(roots: Iterable[x509.Certificate]) -> bytes:
    """PEM of each root once, sorted by DER."""
    by_der = {root.public_bytes(Encoding.DER): root for root in roots}
    return b"".join(by_der[der].public_bytes(Encoding.PEM) for der in sorted(by_der))


def pem_of(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
