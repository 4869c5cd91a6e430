"""Tests of how the modules of infernet_router import each other: in one direction only."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import infernet_router

ROOT = Path(infernet_router.__file__).parent

MAY_IMPORT = {
    "quoting": (),
    "addresses": ("quoting",),
    "reports": ("quoting",),
    "fleet": ("addresses", "reports", "quoting"),
    "nodes": ("fleet", "addresses", "reports", "quoting"),
    "process": ("fleet", "addresses", "reports", "quoting"),
    "serving": ("quoting",),
    "api": ("nodes", "process", "fleet", "addresses", "reports", "serving", "quoting"),
    "sources": ("nodes", "process", "fleet", "addresses", "reports", "quoting"),
    "options": ("api", "sources", "nodes", "process", "fleet", "addresses", "reports", "quoting"),
}
"""What each folder, or module that is in none, may import of the others."""

ENTRANCES = {"tap", "demo", "testing", "__main__", "__init__"}
"""The modules that may import all others, and that no other module may import."""

PURE = {"addresses", "reports", "quoting", "fleet"}
IMPURE = {"io", "logging", "os", "pathlib", "socket", "subprocess", "threading", "time"}
IMPURE |= {"klein", "treq", "twisted"}
"""What the pure core imports nothing of: reactor, network, files, log and clock."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Each module by its dotted name without the package's, and its code."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text())


def imported(code: ast.Module) -> Iterator[str]:
    """The dotted names of all that a module imports, wherever in it."""
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
        """Each folder imports only what stands below it."""
        for name, others in self.ours.items():
            folder = name.partition(".")[0]
            if folder in ENTRANCES:
                continue
            folders = {other.partition(".")[0] for other in others} - {folder}
            self.assertEqual(folders - set(MAY_IMPORT[folder]), set(), f"imported by {name}")

    def test_no_circle(self) -> None:
        """No module imports itself over others."""
        try:
            tuple(TopologicalSorter(self.ours).static_order())
        except CycleError as error:
            self.fail(f"a circle: {' -> '.join(error.args[1])}")

    def test_pure(self) -> None:
        """The core has no reactor, no network, no file, no log and no clock."""
        for name, code in modules():
            if name.partition(".")[0] in PURE:
                roots = {inner.partition(".")[0] for inner in imported(code)}
                self.assertEqual(roots & IMPURE, set(), f"imported by {name}")
