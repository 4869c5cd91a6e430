"""Tests of infernet_router.sources.reading."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.sources import reading
from infernet_router.sources.reading import Drafts, Found, read_draft, read_now


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"a\n")
        self.patch(reading, "_QUIET", 0.001)

    def test_quiet(self) -> None:
        """A file that nobody writes to is read once."""
        for read in (read_now, read_draft):
            found = read(self.path)
            self.assertEqual((found.content, found.is_quiet), (b"a\n", True))

    def test_changing(self) -> None:
        """A file that changes while it is read is read, and that is said."""
        read_file = reading.__dict__["read_file"]

        def read_slowly(path: Path, most: int) -> bytes:
            content: bytes = read_file(path, most)
            path.write_bytes(content + b"b\n")
            return content

        self.patch(reading, "read_file", read_slowly)
        for read in (read_now, read_draft):
            found = read(self.path)
            self.assertTrue(found.content.startswith(b"a\n"))
            self.assertFalse(found.is_quiet)


class DraftsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.drafts = Drafts()

    def add(self, draft: bytes, *, is_quiet: bool = True) -> Found | None:
        return self.drafts.add(draft, is_quiet=is_quiet)

    def test_changed(self) -> None:
        """One change is waited for, a second one is not."""
        self.assertEqual([self.drafts.changed() for _ in range(3)], [False, True, True])
        self.drafts.forget()
        self.assertFalse(self.drafts.changed())

    def test_written(self) -> None:
        """Drafts of which each continues the last are not whole; an unfinished line is left out."""
        for draft, lines in ((b"", b""), (b"a", b""), (b"a\nb", b"a\n"), (b"a\nb\n", b"a\nb\n")):
            self.assertEqual(self.add(draft), Found(None, lines))

    def test_rewritten(self) -> None:
        """A draft that another one replaces was whole."""
        self.add(b"a\nb\n")
        self.assertEqual(self.add(b"c\n"), Found(b"a\nb\n", b"c\n"))
        self.assertEqual(self.add(b"c\nd\n"), Found(None, b"c\nd\n"))

    def test_same(self) -> None:
        """A draft that is found again is whole, which is told once."""
        self.add(b"a\n")
        self.assertEqual(self.add(b"a\n"), Found(b"a\n", b"a\n"))
        self.assertIsNone(self.add(b"a\n"))

    def test_written_meanwhile(self) -> None:
        """A draft that was read while somebody wrote is never whole."""
        self.add(b"a\n", is_quiet=False)
        self.assertEqual(self.add(b"b\n"), Found(None, b"b\n"))
