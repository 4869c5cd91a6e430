"""Tests of infernet_router.admin.guesses."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin import guesses
from infernet_router.admin.access import Role
from infernet_router.admin.guesses import Guesses
from tests.admin.case import AdminTestCase

OPTIONS = "/admin/v1/options"


class GuessesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guesses = Guesses(self.clock.seconds)

    def test_limit(self) -> None:
        """A peer can guess ten times within any second."""
        for _ in range(10):
            self.assertFalse(self.guesses.are_too_many(b"a"))
            self.guesses.add(b"a")
            self.clock.advance(0.05)
        self.assertTrue(self.guesses.are_too_many(b"a"))
        self.assertFalse(self.guesses.are_too_many(b"b"))
        self.clock.advance(0.5)
        self.assertFalse(self.guesses.are_too_many(b"a"))
        self.guesses.add(b"a")
        self.assertTrue(self.guesses.are_too_many(b"a"))

    def test_peers(self) -> None:
        """When there are too many peers, the others count as one; peers that stop are forgotten."""
        self.patch(guesses, "_MOST_PEERS", 2)
        self.guesses.add(b"a")
        self.clock.advance(0.5)
        self.guesses.add(b"b")
        for number in range(10):
            self.guesses.add(b"%d" % number)
        self.assertTrue(self.guesses.are_too_many(b"x"))
        self.assertFalse(self.guesses.are_too_many(b"b"))
        self.clock.advance(1)
        self.assertFalse(self.guesses.are_too_many(b"x"))


class LimitTests(AdminTestCase):
    def test_limit(self) -> None:
        """After ten wrong tokens a second, no token of that network is looked at."""
        self.give("bob", Role.OPERATOR, "secret")
        root = self.root()
        right, wrong = ({"Authorization": f"Bearer {token}"} for token in ("secret", "wrong"))
        for number in range(10):
            peer = f"2001:db8::{number}"
            answer = self.ask(OPTIONS, root=root, peer=peer, headers=wrong)
            self.assertEqual(answer.status, 401)
        for headers in (right, wrong):
            answer = self.assert_error(
                OPTIONS,
                429,
                "there were too many wrong tokens",
                root=root,
                peer="2001:db8::99",
                headers=headers,
            )
            self.assertEqual(answer.headers["retry-after"], "1")
        for peer in ("192.0.2.1", "unix"):
            self.assertEqual(self.ask(OPTIONS, root=root, peer=peer, headers=right).status, 200)
        self.assertEqual(self.ask(OPTIONS, root=root).status, 200)
        self.clock.advance(1)
        answer = self.ask(OPTIONS, root=root, peer="2001:db8::99", headers=right)
        self.assertEqual(answer.status, 200)
