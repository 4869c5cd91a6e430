"""TLS to nodes: which certificates are trusted, and how a node's is verified at a limited cost."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from infernet_router.files import BadFile, TooSlow, in_time, read_file
from infernet_router.nodes.asking import NoAnswer
from infernet_router.nodes.tls_errors import why_untrusted

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL"
"""The ciphers for TLS 1.2. With DHE, the node would choose the modulus: one of 10,000 bits takes
0.6 s. All ciphers of TLS 1.3 are allowed: none of its key exchanges takes over a millisecond."""

_MAX_INTERMEDIATE = 8
"""The most intermediate certificates in a chain; there are seldom more than two."""

_MAX_OVERHEAD = 32 * 1024
"""The most bytes that a node sends in addition to its answer: its handshake, which usually has 2 to
6 KiB, and the messages that may follow it. A longer one takes longer to parse and to verify."""

_MAX_NAMES = 250
"""The most names in a node's certificate; each costs 10 µs, and more with name constraints. Let's
Encrypt issues certificates for up to 100."""

_MAX_EXPONENT = 2**32
"""The largest public exponent of an RSA key; nearly all have 65537. Verifying a signature takes
longer the longer this number is: 5 ms for one of 3000 bits."""

_MAX_FILE = 8 * 1024 * 1024
"""The largest file of certificates, in bytes; that of a system has 0.2 MiB."""


class BadCertificates(Exception):
    """No certificates can be read from a file; the message says why."""


def make_trust(ca_file: Path | None) -> SSL.Context:
    """
    A TLS context for all connections, with every trusted certificate authority.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when `ca_file` cannot be read or has no certificates.
    """
    context = CertificateOptions(
        trustRoot=platformTrust(),
        raiseMinimumTo=TLSVersion.TLSv1_2,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(_CIPHERS),
    ).getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_verify_depth(_MAX_INTERMEDIATE)
    if ca_file is not None:
        store = context.get_cert_store()
        assert store is not None
        try:
            in_time(lambda: read_file(ca_file, _MAX_FILE))
            in_time(lambda: store.load_locations(str(ca_file)))
        except BadFile as error:
            raise BadCertificates(str(error)) from None
        except TooSlow as error:
            raise BadCertificates(f"cannot read {ca_file}: {error}") from None
        except crypto.Error:
            raise BadCertificates(f"{ca_file} holds no PEM certificate") from None
    return context


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class VerifiedTLS:
    """
    Makes TLS connections that verify the node's certificate and host name.

    Twisted's own (optionsForClientTLS) loads all of the platform's certificates into a new context
    for each host, which takes 7 ms and 0.9 MB; here, all connections share one context. And
    Twisted 26.10 accepts a certificate without any host name for every host.

    :ivar limit: how many bytes the peer may send in addition to its answers.
    """

    host: str
    trust: SSL.Context
    limit: float = _MAX_OVERHEAD

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        # The weak reference avoids a cycle: the protocol holds the connection.
        connection = _Connection(self.trust, partial(_fail, ref(tlsProtocol)), self.limit)
        if isIPAddress(self.host) or isIPv6Address(self.host):
            wanted: DNS_ID | IPAddress_ID = IPAddress_ID(self.host)
        else:
            wanted = DNS_ID(self.host)
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        is_anchor = True

        def verify(via: _Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
            """
            Whether to accept a certificate of the chain.

            If the chain ends with a trusted one, OpenSSL calls this for each, beginning with that
            one and ending with the node's own at depth 0, before it uses the certificate's key.
            """
            nonlocal is_anchor
            why = _problem(cert, wanted, depth, is_anchor) if ok else why_untrusted(error)
            is_anchor = False
            if why is not None:
                via.fail(why)
            return why is None

        flags = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        connection.set_verify(flags, verify)  # type: ignore[arg-type]
        return connection


class _Connection(SSL.Connection):
    """
    A TLS connection on which a node can send only a limited amount in addition to its answers.

    OpenSSL has no such limit: it reads certificates of 100 KiB, and any number of session tickets
    and key updates.

    :param fail: closes the connection, for a reason.
    :param limit: how many bytes that is.
    """

    def __init__(self, trust: SSL.Context, fail: Callable[[str], None], limit: float) -> None:
        super().__init__(trust, None)
        self.fail = fail
        self._limit = self._spare = limit
        """How many bytes the node may still send in addition to its answer."""

    def send(self, *arguments: Any) -> int:
        sent = super().send(*arguments)
        self._spare = self._limit  # a request was sent
        return sent

    def bio_write(self, buf: Any) -> int:
        self._spare -= len(buf)
        if self._spare >= 0:
            return super().bio_write(buf)
        self.fail(
            f"it sent more than {self._limit // 1024} KiB of certificates and other TLS messages"
        )
        return len(buf)

    def recv(self, *arguments: Any) -> bytes:
        received = super().recv(*arguments)
        self._spare += len(received)
        return received


def _fail(protocol: ref[TLSMemoryBIOProtocol], why: str) -> None:
    """Close a connection, if it still exists, for this reason."""
    if (existing := protocol()) is not None:
        existing.failVerification(Failure(NoAnswer(why, kind="tls")))


def _problem(
    cert: crypto.X509, wanted: DNS_ID | IPAddress_ID, depth: int, is_anchor: bool
) -> str | None:
    """
    Why to refuse a certificate that OpenSSL trusts; None if there is no reason.

    :param wanted: whom the node's certificate, at depth 0, must be for.
    :param is_anchor: whether it is trusted by itself: the node did not choose it.
    """
    if is_anchor and depth > 0:
        return None
    certificate = cert.to_cryptography()
    if not is_anchor and not has_quick_key(certificate):
        return "the key of a certificate is of an unusual kind, and would take long to verify"
    return None if depth > 0 else _name_problem(certificate, wanted)


def has_quick_key(certificate: x509.Certificate) -> bool:
    """Whether signatures of a certificate's key can be verified within a millisecond or so."""
    try:
        key = certificate.public_key()
    except Exception:  # the parser may raise anything; it knows only usual kinds and curves
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_numbers().e < _MAX_EXPONENT
    return not isinstance(key, dsa.DSAPublicKey)


def _name_problem(certificate: x509.Certificate, wanted: DNS_ID | IPAddress_ID) -> str | None:
    """Why a node's certificate is not for its host; None if it is."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sum(1 for _ in names) > _MAX_NAMES:
            return f"the certificate has more than {_MAX_NAMES} names"
        verify_service_identity(extract_patterns(certificate), [wanted], [])
    except VerificationError:
        return "the certificate is not for this host"
    except Exception:  # the parser may raise anything
        return "the certificate has no valid subjectAltName"
    return None
