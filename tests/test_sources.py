"""Tests of infernet_router.sources."""

from errno import EACCES
from pathlib import Path, PosixPath

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.sources import BadSource, read_address_file


class Forbidden(PosixPath):
    """A file its reader has no permission to read, even if that is root."""

    def read_bytes(self) -> bytes:
        raise PermissionError(EACCES, "Permission denied")


class ReadAddressFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def assert_bad(self, message: str) -> None:
        with self.assertRaises(BadSource) as caught:
            read_address_file(self.path)
        self.assertEqual(str(caught.exception), message)

    def test_good(self) -> None:
        """The addresses are those in the file."""
        self.path.write_bytes(b"\xef\xbb\xbf192.0.2.1:4000\r\n\r\n192.0.2.2:4000 # b\xc3\xa4r")
        self.assertEqual(
            [str(address) for address in read_address_file(self.path)],
            ["192.0.2.1:4000", "192.0.2.2:4000"],
        )

    def test_bad_lines(self) -> None:
        """Every bad line is told with file, number, text and reason."""
        self.path.write_bytes(b"192.0.2.1\nftp://x\n# \xff is fine here\nn\xf6de.invalid\n")
        self.assert_bad(
            f"{self.path}, line 2: 'ftp://x': the scheme must be http or https, not 'ftp'\n"
            f"{self.path}, line 4: 'n\\xf6de.invalid': it is not UTF-8"
        )

    def test_missing(self) -> None:
        """Without a file, it says what to do."""
        self.assert_bad(
            f"there is no {self.path}: copy ips.txt.example to ips.txt and put your nodes in it,"
            " one address a line"
        )

    def test_empty(self) -> None:
        """A file without any address says what to do."""
        self.path.write_text("# nothing yet\n")
        self.assert_bad(
            f"{self.path} holds no address: copy ips.txt.example to ips.txt and put your nodes"
            " in it, one address a line"
        )

    def test_directory(self) -> None:
        """A directory in its place may be one that docker made; only such a one is to go."""
        self.path.mkdir()
        self.assert_bad(
            f"{self.path} is a directory, not a file of addresses. If docker made it, for a file to"
            " mount that was not there, remove it and copy ips.txt.example to ips.txt and put your"
            " nodes in it, one address a line"
        )

    def test_unreadable(self) -> None:
        """A file that cannot be read says why, and what to do if that helps."""
        self.path = Forbidden("ips.txt")
        self.assert_bad("cannot read ips.txt: Permission denied; make it readable")

    def test_no_file(self) -> None:
        """A path that leads to no file says why."""
        self.path.symlink_to(self.path)
        self.assert_bad(f"cannot read {self.path}: Too many levels of symbolic links")
        self.path.unlink()
        self.path.touch()
        self.path /= "ips.txt"
        self.assert_bad(f"cannot read {self.path}: Not a directory")
