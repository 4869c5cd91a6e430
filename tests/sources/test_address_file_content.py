"""Tests of infernet_router.sources.address_file: what may be in the file."""

import os
from errno import EACCES
from pathlib import Path
from threading import Event

from infernet_router import files
from infernet_router.sources import address_file
from infernet_router.sources.joining import BadSource
from tests.sources.case import EXAMPLE, FileTestCase


class BadFileTests(FileTestCase):
    def assert_bad(self, message: str) -> None:
        with self.assertRaises(BadSource) as caught:
            self.file()
        self.assertEqual(str(caught.exception), message)

    def assert_good(self, *texts: str) -> None:
        file = self.file()
        file.startService()
        self.successResultOf(file.stopService())
        self.assert_fleet(*texts)

    def test_good(self) -> None:
        """The addresses in the file are returned."""
        self.path.write_bytes(b"\xef\xbb\xbf192.0.2.1:4000\r\n\r\n192.0.2.2:4000 # b\xc3\xa4r")
        self.assert_good("192.0.2.1:4000", "192.0.2.2:4000")

    def test_bad_lines(self) -> None:
        """The message lists bad lines with file, number, text and reason."""
        self.path.write_bytes(
            b"192.0.2.1\nftp://x\n# \xff is fine here\nn\xf6de.invalid\ndns://nodes.invalid"
        )
        self.assert_bad(
            f"{self.path}, line 2: 'ftp://x': the scheme must be http or https, not 'ftp'\n"
            f"{self.path}, line 4: 'n\\xf6de.invalid': it is not UTF-8\n"
            f"{self.path}, line 5: 'dns://nodes.invalid': the port is missing, as in"
            " dns://nodes.example.org:4000"
        )

    def test_encoding(self) -> None:
        """A file in another encoding, or with other line ends, is refused as a whole."""
        utf_16 = f"{self.path} is in UTF-16 or UTF-32: save it as UTF-8"
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            self.path.write_bytes("# nodes\n192.0.2.1:4000\r\n".encode(encoding))
            self.assert_bad(utf_16)
        self.path.write_bytes(b"# nodes\r192.0.2.1:4000\r192.0.2.2:4000\r")
        self.assert_bad(
            f"{self.path} has lines that end with a carriage return (CR): end them with a line feed"
            " (LF)"
        )
        self.path.write_bytes(b"\r192.0.2.1:4000\r")
        self.assert_good("192.0.2.1:4000")

    def test_many_bad_lines(self) -> None:
        """Twenty bad lines are named, cut if they are long; the others are counted."""
        self.path.write_text("".join(f"a {'b' * 1000}{number}\n" for number in range(1020)))
        with self.assertRaises(BadSource) as caught:
            self.file()
        lines = str(caught.exception).splitlines()
        self.assertEqual(len(lines), 21)
        self.assertTrue(lines[19].startswith(f"{self.path}, line 20: 'a bbb"), lines[19])
        self.assertLess(len(lines[19]), 1000)
        self.assertEqual(lines[20], f"{self.path} has 1000 more bad lines")

    def test_missing(self) -> None:
        """When the file is missing, the message says what to do."""
        self.assert_bad(f"there is no {self.path}: {EXAMPLE}")

    def test_empty(self) -> None:
        """When the file has no address, the message says what to do."""
        self.path.write_text("# nothing yet\n")
        self.assert_bad(f"{self.path} holds no address: {EXAMPLE}")

    def test_directory(self) -> None:
        """A directory is refused; only one that docker made is to be removed."""
        self.path.mkdir()
        self.assert_bad(
            f"{self.path} is a directory, not a file of addresses. If docker made it in place of a"
            f" missing file to mount, remove it, create a file, and {EXAMPLE}"
        )

    def test_unreadable(self) -> None:
        """When permission is missing, the message says what to do."""
        self.path.touch()

        def refuse(*_: object) -> int:
            raise PermissionError(EACCES, "Permission denied")

        self.patch(os, "open", refuse)
        self.assert_bad(f"cannot read {self.path}: Permission denied; make it readable")

    def test_endless(self) -> None:
        """A pipe or a device, from which reading may never end, is refused."""
        os.mkfifo(self.path)
        reason = "is a pipe, a socket or a device, not a file"
        self.assert_bad(f"{self.path} {reason}")
        self.path = Path("/dev/zero")
        self.assert_bad(f"/dev/zero {reason}")

    def test_hanging(self) -> None:
        """A file that cannot be read in time is refused."""
        answers = Event()
        self.addCleanup(answers.set)
        self.patch(files, "PATIENCE", 0.01)
        self.patch(address_file, "read_now", lambda _: answers.wait())
        self.assert_bad(
            f"cannot read {self.path}: the file system did not answer within 0.01 seconds"
        )

    def test_large(self) -> None:
        """A file of 8 MiB is read, a larger one is refused."""
        self.path.write_text("192.0.2.1\n")
        for size in (8 * 2**20, 8 * 2**20 + 1):
            with self.path.open("a") as file:
                file.write("#" * (size - self.path.stat().st_size))
            if size > 8 * 2**20:
                self.assert_bad(f"{self.path} is larger than 8 MiB")
            else:
                self.assert_good("192.0.2.1")

    def test_no_file(self) -> None:
        """When the path does not lead to a file, the message says why."""
        self.path.symlink_to(self.path)
        self.assert_bad(f"cannot read {self.path}: Too many levels of symbolic links")
        self.path.unlink()
        self.path.touch()
        self.path /= "ips.txt"
        self.assert_bad(f"cannot read {self.path}: Not a directory")
