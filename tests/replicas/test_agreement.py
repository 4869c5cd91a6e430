"""Tests of infernet_router.replicas.agreement."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.replicas.agreement import Agreement


class AgreementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agreement = Agreement()

    def test_since(self) -> None:
        """Members agree since the last of them was heard to have the digest first."""
        self.agreement.heard(1, 7, 10.0)
        self.agreement.heard(1, 7, 11.0)
        self.assertEqual(self.agreement.since({1}, 7), 10.0)
        self.assertIsNone(self.agreement.since({1, 2}, 7))
        self.agreement.heard(2, 6, 12.0)
        self.assertIsNone(self.agreement.since({1, 2}, 7))
        self.agreement.heard(2, 7, 13.0)
        self.assertEqual(self.agreement.since({1, 2}, 7), 13.0)
        self.assertIsNone(self.agreement.since({1, 2}, 8))

    def test_alone(self) -> None:
        """Without members there is nobody to wait for."""
        self.assertEqual(self.agreement.since((), 7), -inf)

    def test_keep(self) -> None:
        """A member that is gone says what it knows anew when it is back."""
        for member in (1, 2):
            self.agreement.heard(member, 7, 10.0)
        self.agreement.keep({1})
        self.assertEqual(self.agreement.since({1}, 7), 10.0)
        self.assertIsNone(self.agreement.since({2}, 7))
