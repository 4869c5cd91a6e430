"""TLS to nodes: which certificates are trusted, and how a node's is verified."""

from pathlib import Path
from weakref import ref

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from infernet_router.nodes.asking import NoAnswer


class BadCertificates(Exception):
    """No certificates can be read from a file; the message says why."""


def make_trust(ca_file: Path | None) -> SSL.Context:
    """
    A TLS context for all connections, with every trusted certificate authority.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when `ca_file` cannot be read or has no certificates.
    """
    context = CertificateOptions(trustRoot=platformTrust()).getContext()
    if ca_file is not None:
        store = context.get_cert_store()
        assert store is not None
        try:
            ca_file.read_bytes()
            store.load_locations(str(ca_file))
        except OSError as error:
            raise BadCertificates(f"cannot read {ca_file}: {error.strerror}") from None
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
    """

    host: str
    trust: SSL.Context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.trust)
        if isIPAddress(self.host) or isIPv6Address(self.host):
            wanted: DNS_ID | IPAddress_ID = IPAddress_ID(self.host)
        else:
            wanted = DNS_ID(self.host)
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        weak_protocol = ref(tlsProtocol)  # avoids a cycle: it holds the connection and so `verify`

        def verify(_: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
            """Whether to accept a certificate of the chain; depth 0 is the node's own."""
            if not ok or depth > 0:
                return bool(ok)
            try:
                verify_service_identity(extract_patterns(cert), [wanted], [])
            except VerificationError:
                why = "the certificate is not for this host"
            except Exception:  # the parser may raise anything
                why = "the certificate has no valid subjectAltName"
            else:
                return True
            if (protocol := weak_protocol()) is not None:
                protocol.failVerification(Failure(NoAnswer(why, kind="tls")))
            return False

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


def verification_failure(connection: SSL.Connection) -> Failure | None:
    """Why OpenSSL does not trust the node's certificate; None when something else failed."""
    chain = connection.get_peer_cert_chain()
    store = connection.get_context().get_cert_store()
    if not chain or store is None:
        return None
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        why = f"the certificate is not trusted: {error.args[0]}"
        return Failure(NoAnswer(why, kind="tls"))
    return None
