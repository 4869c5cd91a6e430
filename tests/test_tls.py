"""Tests of infernet_router.tls; handshakes are tested in tests/integration."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.tls import BadCertificates, make_trust


class MakeTrustTests(SynchronousTestCase):
    def assert_bad(self, path: Path, reason: str) -> None:
        with self.assertRaises(BadCertificates) as caught:
            make_trust(path)
        self.assertEqual(str(caught.exception), reason)

    def test_bad(self) -> None:
        """A file without certificates is refused, with the reason."""
        path = Path(self.mktemp())
        self.assert_bad(path, f"cannot read {path}: No such file or directory")
        path.write_text("no certificate")
        self.assert_bad(path, f"{path} holds no PEM certificate")
        path.write_bytes(b"")
        self.assert_bad(path, f"{path} holds no PEM certificate")
