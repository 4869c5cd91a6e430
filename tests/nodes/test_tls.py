"""Tests of infernet_router.nodes.tls; those over sockets are in tests/integration."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import gcd, lcm
from pathlib import Path
from threading import Event
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import files
from infernet_router.nodes import tls
from infernet_router.nodes.tls import BadCertificates, VerifiedTLS, has_quick_key, make_trust

PRIVATE = trustme.CA()
OVERHEAD = "it sent more than 32 KiB of certificates and other TLS messages"
UNUSUAL = "the key of a certificate is of an unusual kind, and would take long to verify"


def certificate(
    subject: str,
    issuer: tuple[str, Any],
    key: Any,
    names: Sequence[str] = (),
    *,
    comment: int = 0,
) -> x509.Certificate:
    """
    A certificate: of an authority, or of a node with these names.

    :param issuer: its name, and its private key.
    :param comment: how many bytes to make it longer by.
    """
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer[0])]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        san = x509.SubjectAlternativeName(list(map(x509.DNSName, names)))
        builder = builder.add_extension(san, critical=False)
    if comment:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(comment))
        builder = builder.add_extension(unknown, critical=False)
    return builder.sign(issuer[1], SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def slow_key() -> rsa.RSAPrivateKey:
    """An RSA key with a long public exponent, which makes its signatures slow to verify."""
    usual = rsa.generate_private_key(65537, 2048).private_numbers()
    order = lcm(usual.p - 1, usual.q - 1)
    exponent = next(e for e in range(2**40 + 1, 2**41, 2) if gcd(e, order) == 1)
    private = pow(exponent, -1, order)
    return rsa.RSAPrivateNumbers(
        p=usual.p,
        q=usual.q,
        d=private,
        dmp1=private % (usual.p - 1),
        dmq1=private % (usual.q - 1),
        iqmp=usual.iqmp,
        public_numbers=rsa.RSAPublicNumbers(exponent, usual.p * usual.q),
    ).private_key()


AUTHORITY = ("authority", new_key())


class MakeTrustTests(SynchronousTestCase):
    def assert_bad(self, path: Path, reason: str) -> None:
        with self.assertRaises(BadCertificates) as caught:
            make_trust(path)
        self.assertEqual(str(caught.exception), reason)

    def test_bad(self) -> None:
        """A file without certificates is refused, with a reason."""
        path = Path(self.mktemp())
        self.assert_bad(path, f"cannot read {path}: No such file or directory")
        path.write_text("no certificate")
        self.assert_bad(path, f"{path} holds no PEM certificate")
        path.write_bytes(b"")
        self.assert_bad(path, f"{path} holds no PEM certificate")

    def test_endless(self) -> None:
        """What is no regular file is refused, and not read."""
        self.assert_bad(Path("/dev/zero"), "/dev/zero is a pipe, a socket or a device, not a file")

    def test_hanging(self) -> None:
        """A file that cannot be read in time is refused."""
        answers = Event()
        self.addCleanup(answers.set)
        self.patch(files, "PATIENCE", 0.01)
        self.patch(tls, "read_file", lambda *_: answers.wait())
        self.assert_bad(
            Path("ca.pem"),
            "cannot read ca.pem: the file system did not answer within 0.01 seconds",
        )


class Protocol:
    """Records why the verification of a certificate failed."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def failVerification(self, reason: Failure) -> None:
        self.reasons.append(str(reason.value))


def pump(*ends: SSL.Connection) -> None:
    """Pass on what two ends of a connection, first the client's, have sent each other."""
    client, node = ends
    for sender, receiver in ((client, node), (node, client)) * 9:
        with contextlib.suppress(SSL.Error):
            sender.do_handshake()
        with contextlib.suppress(SSL.Error):
            while data := sender.bio_read(2048):
                receiver.bio_write(data)


class VerifiedTLSTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ca_file = Path(self.mktemp())
        own = certificate("authority", AUTHORITY, AUTHORITY[1])
        self.ca_file.write_bytes(PRIVATE.cert_pem.bytes() + own.public_bytes(Encoding.PEM))
        self.protocol = Protocol()

    def node(self, leaf: trustme.LeafCert) -> SSL.Context:
        """The context of a node with this certificate."""
        pem = leaf.private_key_and_cert_chain_pem.bytes()
        context: SSL.Context = PrivateCertificate.loadPEM(pem).options().getContext()
        return context

    def connect(self, protocol: Any, context: SSL.Context) -> SSL.Connection:
        """The client's connection, after a handshake in memory with a node at node.invalid."""
        tls = VerifiedTLS("node.invalid", make_trust(self.ca_file))
        client = tls.clientConnectionForTLS(protocol)
        self.server = SSL.Connection(context)
        del protocol
        client.set_connect_state()
        self.server.set_accept_state()
        pump(client, self.server)
        return client

    def chain(
        self, keys: Sequence[Any], names: Sequence[str] = ("node.invalid",), comment: int = 0
    ) -> SSL.Context:
        """The context of a node whose certificate has these names; `keys` are of its chain."""
        *keys, own = keys
        issuer, chain = AUTHORITY, []
        for number, key in enumerate(keys):
            subject = f"intermediate {number}"
            chain.append(certificate(subject, issuer, key))
            issuer = (subject, key)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        leaf = certificate("node", issuer, own, names, comment=comment)
        context.use_certificate(crypto.X509.from_cryptography(leaf))
        context.use_privatekey(crypto.PKey.from_cryptography_key(own))
        for each in reversed(chain):
            context.add_extra_chain_cert(crypto.X509.from_cryptography(each))
        return context

    def assert_accepted(self, context: SSL.Context) -> SSL.Connection:
        client = self.connect(self.protocol, context)
        self.assertEqual(client.get_state_string(), b"SSL negotiation finished successfully")
        self.assertEqual(self.protocol.reasons, [])
        return client

    def assert_refused(self, context: SSL.Context, reason: str) -> None:
        client = self.connect(self.protocol, context)
        self.assertNotEqual(client.get_state_string(), b"SSL negotiation finished successfully")
        self.assertEqual(self.protocol.reasons[0], reason)

    def test_trusted(self) -> None:
        """A certificate of a trusted authority for the right host is accepted."""
        self.assert_accepted(self.node(PRIVATE.issue_cert("node.invalid")))

    def test_usual_keys(self) -> None:
        """All usual kinds of keys are accepted, in the node's certificate and in its chain."""
        for key in (
            rsa.generate_private_key(65537, 2048),
            ec.generate_private_key(ec.SECP384R1()),
            new_key(),
        ):
            self.assert_accepted(self.chain([key] * 3))
        self.assert_accepted(self.chain([new_key(), ed25519.Ed25519PrivateKey.generate()]))

    def test_self_signed(self) -> None:
        """A certificate that is trusted by itself is accepted for its host, and for no other."""
        for host, reasons in (("node.invalid", 0), ("other.invalid", 1)):
            key = new_key()
            own = certificate("itself", ("itself", key), key, [host])
            self.ca_file.write_bytes(own.public_bytes(Encoding.PEM))
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.use_certificate(crypto.X509.from_cryptography(own))
            context.use_privatekey(crypto.PKey.from_cryptography_key(key))
            self.connect(self.protocol, context)
            self.assertEqual(
                self.protocol.reasons, ["the certificate is not for this host"] * reasons
            )

    def test_other_host(self) -> None:
        """A certificate for another host is refused, even after the protocol has been freed."""
        context = self.node(PRIVATE.issue_cert("other.invalid"))
        self.assert_refused(context, "the certificate is not for this host")
        client = self.connect(Protocol(), context)
        self.assertEqual(client.get_state_string(), b"error")

    def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is refused, in words and with OpenSSL's reason."""
        self.assert_refused(
            self.node(trustme.CA().issue_cert("node.invalid")),
            "the certificate is not trusted: an intermediate certificate is missing, or the"
            " authority that issued it is not known (unable to get local issuer certificate)",
        )

    def test_key_exchange(self) -> None:
        """The router offers ECDHE and TLS 1.3 only: with DHE, the node chooses the modulus."""
        ciphers = SSL.Connection(make_trust(None)).get_cipher_list()
        self.assertEqual({name.split("_")[0].split("-")[0] for name in ciphers}, {"TLS", "ECDHE"})

    def test_long_chain(self) -> None:
        """A chain with eight intermediate certificates is accepted; one with nine is refused."""
        self.assert_accepted(self.chain([new_key() for _ in range(9)]))
        self.assert_refused(
            self.chain([new_key() for _ in range(10)]),
            "the certificate is not trusted: the chain has too many certificates"
            " (certificate chain too long)",
        )

    def test_slow_keys(self) -> None:
        """A key whose signatures are slow to verify is refused, wherever it is in the chain."""
        slow = slow_key()
        self.assert_refused(self.chain([slow, new_key()]), UNUSUAL)
        self.protocol.reasons.clear()
        self.assert_refused(self.chain([new_key(), slow]), UNUSUAL)

    def test_unknown_key(self) -> None:
        """A key of DSA is refused, and one on a curve that the parser does not know."""
        outdated = certificate("node", AUTHORITY, dsa.generate_private_key(1024), ["node.invalid"])
        self.assertFalse(has_quick_key(outdated))
        chain = [certificate("node", AUTHORITY, new_key(), ["node.invalid"])]
        der = chain[0].public_bytes(Encoding.DER)
        p256 = bytes.fromhex("06082a8648ce3d030107")
        odd = der.replace(p256, bytes.fromhex("06082a8648ce3d030104"))  # prime239v1
        self.assertNotEqual(odd, der)
        self.assertFalse(has_quick_key(x509.load_der_x509_certificate(odd)))
        self.assertTrue(has_quick_key(chain[0]))

    def test_many_names(self) -> None:
        """A certificate with 250 names is accepted; one with more is refused."""
        names = [f"{number}.invalid" for number in range(249)]
        self.assert_accepted(self.chain([new_key()], [*names, "node.invalid"]))
        self.assert_refused(
            self.chain([new_key()], [*names, "250.invalid", "node.invalid"]),
            "the certificate has more than 250 names",
        )

    def test_long_handshake(self) -> None:
        """A handshake of more than 32 KiB ends the connection."""
        self.assert_accepted(self.chain([new_key()], comment=30_000))
        self.assert_refused(self.chain([new_key()], comment=33_000), OVERHEAD)

    def test_overhead(self) -> None:
        """A long answer is received; endless TLS messages without any content are not."""
        context = self.chain([new_key()])
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = self.assert_accepted(context)
        for _ in range(3):
            client.send(b"a request")
            pump(client, self.server)
            received = 0
            for _ in range(9):
                self.server.send(bytes(16_000))
                pump(client, self.server)
                received += len(client.recv(16_000))
            self.assertEqual(received, 9 * 16_000)
        self.assertEqual(self.protocol.reasons, [])
        while not self.protocol.reasons:
            self.server.send(b"x" * 16_000)
            pump(client, self.server)
        self.assertEqual(self.protocol.reasons[0], OVERHEAD)

    def test_renegotiation(self) -> None:
        """The router does not renegotiate."""
        context = self.chain([new_key()])
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = self.assert_accepted(context)
        self.server.renegotiate()
        with contextlib.suppress(SSL.Error):
            self.server.do_handshake()
        pump(client, self.server)
        with contextlib.suppress(SSL.Error):
            client.recv(1)
        pump(client, self.server)
        self.assertEqual(client.total_renegotiations(), 0)
