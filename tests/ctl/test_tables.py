"""Tests of infernet_router.ctl.tables."""

from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.ctl.tables import print_fields, print_json, print_table, text_of


class Terminal(StringIO):
    """A file that is a terminal."""

    def isatty(self) -> bool:
        return True


class TablesTests(SynchronousTestCase):
    ROWS = (("10.0.0.1:4000", 1.23456), ("a", None))

    def test_terminal(self) -> None:
        """In a terminal, columns have names and are aligned."""
        file = Terminal()
        print_table(("address", "jobs"), self.ROWS, file)
        lines = ["ADDRESS        JOBS", "10.0.0.1:4000  1.235", "a              -"]
        self.assertEqual(file.getvalue().splitlines(), lines)
        file = Terminal()
        print_table(("address", "jobs"), (), file)
        self.assertEqual(file.getvalue(), "ADDRESS  JOBS\n")
        file = Terminal()
        print_fields([("a", 1), ("long", "x")], file)
        self.assertEqual(file.getvalue(), "a     1\nlong  x\n")
        file = Terminal()
        print_json({"a": 1}, file)
        self.assertEqual(file.getvalue(), '{\n  "a": 1\n}\n')

    def test_pipe(self) -> None:
        """Elsewhere, they are divided by tabs, without names."""
        file = StringIO()
        print_table(("address", "jobs"), self.ROWS, file)
        self.assertEqual(file.getvalue(), "10.0.0.1:4000\t1.235\na\t-\n")
        file = StringIO()
        print_fields([("a", 1), ("long", "x")], file)
        self.assertEqual(file.getvalue(), "a\t1\nlong\tx\n")
        file = StringIO()
        print_json({"a": [1, "ä"]}, file)
        self.assertEqual(file.getvalue(), '{"a": [1, "\\u00e4"]}\n')

    def test_texts(self) -> None:
        """A value is on one line and printable, whatever a node said."""
        for value, text in (
            (True, "yes"),
            (False, "no"),
            ("", "-"),
            ([], "-"),
            (["a", "b\x1b[1m"], "a,b\\x1b[1m"),
            ("a\tb\nc", "a\\tb\\nc"),
            ("ä\u2028", "ä\\u2028"),
            (0.0, "0"),
            (12, "12"),
        ):
            self.assertEqual(text_of(value), text)
