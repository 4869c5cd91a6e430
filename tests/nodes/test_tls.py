"""Tests of infernet_router.nodes.tls; those over sockets are in tests/integration."""

import contextlib
from pathlib import Path
from threading import Event
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import files
from infernet_router.nodes import tls
from infernet_router.nodes.tls import BadCertificates, VerifiedTLS, make_trust, verification_failure

PRIVATE = trustme.CA()


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


class VerifiedTLSTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ca_file = Path(self.mktemp())
        PRIVATE.cert_pem.write_to_path(str(self.ca_file))

    def connect(self, protocol: Any, certificate: trustme.LeafCert) -> SSL.Connection:
        """The client's connection, after a handshake in memory with a node at node.invalid."""
        tls = VerifiedTLS("node.invalid", make_trust(self.ca_file))
        client = tls.clientConnectionForTLS(protocol)
        pem = certificate.private_key_and_cert_chain_pem.bytes()
        node = SSL.Connection(PrivateCertificate.loadPEM(pem).options().getContext())
        del protocol
        client.set_connect_state()
        node.set_accept_state()
        for sender, receiver in ((client, node), (node, client)) * 3:
            with contextlib.suppress(SSL.Error):
                sender.do_handshake()
            with contextlib.suppress(SSL.Error):
                receiver.bio_write(sender.bio_read(65536))
        return client

    def test_trusted(self) -> None:
        """A certificate of a trusted authority for the right host is accepted."""
        protocol = Protocol()
        client = self.connect(protocol, PRIVATE.issue_cert("node.invalid"))
        self.assertEqual(client.get_state_string(), b"SSL negotiation finished successfully")
        self.assertEqual(protocol.reasons, [])
        self.assertIsNone(verification_failure(client))

    def test_other_host(self) -> None:
        """A certificate for another host is refused, even after the protocol has been freed."""
        protocol = Protocol()
        for client in (
            self.connect(protocol, PRIVATE.issue_cert("other.invalid")),
            self.connect(Protocol(), PRIVATE.issue_cert("other.invalid")),
        ):
            self.assertEqual(client.get_state_string(), b"error")
        self.assertEqual(protocol.reasons, ["the certificate is not for this host"])

    def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is refused, for OpenSSL's reason."""
        client = self.connect(Protocol(), trustme.CA().issue_cert("node.invalid"))
        failure = verification_failure(client)
        assert failure is not None
        self.assertRegex(str(failure.value), "^the certificate is not trusted: .*issuer")

    def test_no_certificate(self) -> None:
        """Before the handshake there is no certificate, which is not an error."""
        self.assertIsNone(verification_failure(SSL.Connection(make_trust(None))))
