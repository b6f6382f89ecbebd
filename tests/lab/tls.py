"""Strangers at the door: TLS clients that say and show what a test wants them to."""

import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from steersman.lab import netns
from tests.support.pki import dated

MESH_ALPN = ("istio-peer-exchange", "istio")


class Authority(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Heard(NamedTuple):
    """What came back. `line`: the first of an HTTP response, "" if there was none; `error`: what TLS or TCP said instead."""

    line: str
    error: str


def authority() -> Authority:
    """A root that nobody in the mesh knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "elsewhere")])
    built = dated(name, name, key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(built.sign(key, hashes.SHA256()), key)


def leaf(of: Authority, identity: str, file: Path) -> Path:
    """A client's certificate for this SPIFFE id, written with its key and its chain as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = (
        dated(x509.Name([]), of.certificate.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    signed = built.sign(of.key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(pem) + of.certificate.public_bytes(pem))
    return file


def https(
    namespace: str | None,
    address: tuple[str, int],
    *,
    sni: str,
    alpn: tuple[str, ...] = MESH_ALPN,
    certificate: Path | None = None,
    host: str = "ratings",
) -> Heard:
    """A GET over TLS by a client that trusts anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        with _connected(namespace, address) as plain, context.wrap_socket(plain, server_hostname=sni) as secured:
            return _get(secured, host)
    except OSError as failed:
        return Heard("", f"{type(failed).__name__}: {failed}")


def http(namespace: str | None, address: tuple[str, int], *, host: str = "ratings") -> Heard:
    """A GET in plain text."""
    try:
        with _connected(namespace, address) as plain:
            return _get(plain, host)
    except OSError as failed:
        return Heard("", f"{type(failed).__name__}: {failed}")


def _connected(namespace: str | None, address: tuple[str, int]) -> socket.socket:
    plain = netns.stream_socket(namespace)
    plain.settimeout(5)
    plain.connect(address)
    return plain


def _get(connected: socket.socket, host: str) -> Heard:
    connected.sendall(f"GET / HTTP/1.1\r\nHost: {host}:9080\r\nConnection: close\r\n\r\n".encode())
    received = connected.recv(4096)
    return Heard(received.partition(b"\r\n")[0].decode(errors="replace"), "" if received else "closed without a word")
