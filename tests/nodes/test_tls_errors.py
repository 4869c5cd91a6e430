"""Tests of infernet_router.nodes.tls_errors."""

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.tls_errors import why_failed, why_untrusted


class WhyUntrustedTests(SynchronousTestCase):
    def test_known(self) -> None:
        """Frequent problems are told in words, with what OpenSSL calls them."""
        self.assertEqual(
            why_untrusted(10), "the certificate is not trusted: certificate has expired"
        )
        self.assertEqual(
            why_untrusted(21),
            "the certificate is not trusted: an intermediate certificate is missing"
            " (unable to verify the first certificate)",
        )

    def test_unknown(self) -> None:
        """Any other problem has OpenSSL's number."""
        self.assertEqual(why_untrusted(53), "the certificate is not trusted: OpenSSL error 53")


class WhyFailedTests(SynchronousTestCase):
    def test_reasons(self) -> None:
        """A failure is told in words, followed by OpenSSL's, which alone say it when it is rare."""
        for said, reason in (
            ("wrong version number", "there is no TLS at this port (wrong version number)"),
            (
                "tls alert handshake failure",
                "it refuses the handshake; the router needs TLS 1.3, or 1.2 with ECDHE"
                " (tls alert handshake failure)",
            ),
            ("bad extension", "bad extension"),
        ):
            error = SSL.Error([("SSL routines", "", said)])
            self.assertEqual(why_failed(error), f"TLS failed: {reason}")
        self.assertEqual(
            why_failed(SSL.Error([("", "", "bad record"), ("", "", "bad type")])),
            "TLS failed: bad record, bad type",
        )
