"""Tests of how modules import each other: in one direction only, and nothing from the tests."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import infernet_router

ROOT = Path(infernet_router.__file__).parent

CORE = ("fleet", "addresses", "hosts", "reports", "quoting")

UPPER = ("settings", "admin", "api", "sources", "nodes", "process")

MAY_IMPORT = {
    "quoting": (),
    "hosts": ("quoting",),
    "addresses": ("hosts", "quoting"),
    "reports": ("quoting",),
    "files": (),
    "signals": (),
    "ctl": (),
    "fleet": ("addresses", "reports", "quoting"),
    "counting": (),
    "nodes": (*CORE, "files", "counting"),
    "replicas": (*CORE, "nodes", "counting"),
    "process": (*CORE, "files"),
    "serving": ("files", "quoting", "counting"),
    "api": (*CORE, "files", "nodes", "process", "serving", "counting"),
    "sources": (*CORE, "files", "nodes", "process", "counting"),
    "admin": (*CORE, "files", "api", "sources", "nodes", "process", "serving", "counting"),
    "settings": ("api", "nodes", "replicas", "addresses", "quoting"),
    "option_values": ("addresses", "replicas"),
    "option_table": ("option_values", "settings", "api", "process"),
    "option_help": (),
    "options": (*CORE, "option_help", "option_table", "option_values", *UPPER),
}
"""By folder, or module outside a folder: the others that it may import."""

ENTRANCES = {"tap", "assembly", "demo", "testing", "__main__", "__init__"}
"""The modules that may import all others, and that no other module may import."""

PURE = {"addresses", "hosts", "reports", "quoting", "fleet", "counting"}
IMPURE = {"io", "logging", "os", "pathlib", "socket", "subprocess", "threading", "time"}
IMPURE |= {"klein", "treq", "twisted"}
"""The modules that the pure core must not import: reactor, network, files, log and clock."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Each module: its dotted name within the package, and its code."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text())


def imported(code: ast.Module) -> Iterator[str]:
    """The dotted names of everything that a module imports, anywhere in it."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and not node.level, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class ImportTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = {name for name, _ in modules()}
        self.ours = {
            name: {
                inner.removeprefix("infernet_router.")
                for inner in imported(code)
                if inner.removeprefix("infernet_router.") in self.names - {"__init__"}
                and inner.startswith("infernet_router.")
            }
            for name, code in modules()
        }

    def test_direction(self) -> None:
        """Each folder imports only those below it."""
        for name, others in self.ours.items():
            folder = name.partition(".")[0]
            if folder in ENTRANCES:
                continue
            folders = {other.partition(".")[0] for other in others} - {folder}
            self.assertEqual(folders - set(MAY_IMPORT[folder]), set(), f"imported by {name}")

    def test_no_circle(self) -> None:
        """No module imports itself through others."""
        try:
            tuple(TopologicalSorter(self.ours).static_order())
        except CycleError as error:
            self.fail(f"a circle: {' -> '.join(error.args[1])}")

    def test_pure(self) -> None:
        """The core uses no reactor, network, files, log or clock."""
        for name, code in modules():
            if name.partition(".")[0] in PURE:
                roots = {inner.partition(".")[0] for inner in imported(code)}
                self.assertEqual(roots & IMPURE, set(), f"imported by {name}")

    def test_no_tests(self) -> None:
        """The router and the benchmarks import nothing from the tests, which need more packages."""
        paths = [*ROOT.rglob("*.py"), *(ROOT.parent / "benchmarks").rglob("*.py")]
        self.assertGreater(len(paths), len(self.names))
        for path in paths:
            roots = {inner.partition(".")[0] for inner in imported(ast.parse(path.read_text()))}
            self.assertNotIn("tests", roots, f"imported by {path}")
