"""Tests of infernet_router.fleet.journal."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.journal import Journal


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal[str]()

    def test_read(self) -> None:
        """A cursor reads each entry written after it was made, once and in order."""
        self.journal.write("too early")
        cursor = self.journal.follow()
        self.assertEqual(cursor.read(), [])
        self.journal.write("a")
        self.journal.write("b")
        self.assertEqual(cursor.read(), ["a", "b"])
        self.assertEqual(cursor.read(), [])

    def test_at_most(self) -> None:
        """A consumer may read a part, and the rest later."""
        cursor = self.journal.follow(["x", "y", "z"])
        self.assertEqual(cursor.read(2), ["x", "y"])
        self.assertEqual(cursor.read(2), ["z"])

    def test_consumers(self) -> None:
        """Each consumer reads all entries, whatever the others read."""
        early = self.journal.follow()
        self.journal.write("a")
        late = self.journal.follow()
        self.journal.write("b")
        self.assertEqual(early.read(), ["a", "b"])
        self.assertEqual(late.read(), ["b"])

    def test_before(self) -> None:
        """A cursor may begin with entries of its own."""
        cursor, other = self.journal.follow(["x", "y"]), self.journal.follow()
        self.journal.write("a")
        self.assertEqual(cursor.read(), ["x", "y", "a"])
        self.assertEqual(other.read(), ["a"])

    def test_close(self) -> None:
        """Nothing is kept for a closed cursor."""
        closed, other = self.journal.follow(), self.journal.follow()
        closed.close()
        self.journal.write("a")
        self.assertEqual(closed.read(), [])
        self.assertEqual(other.read(), ["a"])
