"""Tests of the documentation: its links, options and messages agree with the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.options import Options

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)]+)\)|<img src=\"([^\"]+)\"", re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_OPTION = re.compile(r"^  --([a-z-]+)\S*\s+(.*?)(?=^  -|^\S|\Z)", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_UNWRITTEN = re.compile(r"\b[A-Z]+_(?:TABLE|FIGURES?|PLACEHOLDER)\b|\b(?:TODO|FIXME|TBD|XXX)\b")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (title.strip().lower() for title in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def tables(page: Path, first: str) -> Iterator[list[str]]:
    """The cells of each row of the tables whose first column has this title."""
    inside = False
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if inside and cells and not set(cells[0]) <= {"-"}:
            yield cells
        inside = bool(cells) and (inside or cells[0] == first)


class LinkTests(SynchronousTestCase):
    def test_links(self) -> None:
        """Every relative link leads to a file, and every anchor to one of its headings."""
        checked = 0
        for page in PAGES:
            for link in filter(None, (a or b for a, b in _LINK.findall(prose(page)))):
                if "://" in link:
                    continue
                name, _, anchor = link.partition("#")
                target = page.parent / name if name else page
                self.assertTrue(target.exists(), f"{page.name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page.name}: {link}")
                checked += 1
        self.assertGreater(checked, 100)

    def test_contents(self) -> None:
        """Every page but the front page and the changelog begins with links to its sections."""
        for page in PAGES:
            if page.name in ("README.md", "CHANGELOG.md"):
                continue
            sections = re.findall(r"^## (.+)$", prose(page), re.MULTILINE)
            contents = re.findall(r"\[([^]]+)\]\(#", prose(page).partition("\n## ")[0])
            self.assertEqual([c for c in contents if c in sections], sections, page.name)

    def test_written(self) -> None:
        """No page has a placeholder for what was to be written later."""
        for page in PAGES:
            self.assertEqual(_UNWRITTEN.findall(page.read_text()), [], page.name)

    def test_front_page(self) -> None:
        """The front page is short."""
        self.assertLessEqual((ROOT / "README.md").stat().st_size, 8192)


class OptionTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The table of options has the names, variables and defaults that --help prints."""
        printed = {}
        for name, text in _OPTION.findall(Options().getUsage(width=1000)):
            words = " ".join(text.split())
            variable = re.search(r"environment variable (\w+)", words)
            default = re.search(r"\[default: (.+?)\]", words)
            printed[f"`--{name}`"] = (
                f"`{variable[1]}`" if variable else "",
                default[1] if default else "",
            )
        for name in ("`--help`", "`--version`"):
            del printed[name]
        rows = tables(ROOT / "docs" / "operating.md", "option")
        documented = {name: (variable, default) for name, variable, default, *_ in rows}
        self.assertEqual(documented, printed)


class MessageTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """Every message that the documentation explains is in the code."""
        docs = ROOT / "docs"
        rows = [
            *tables(docs / "troubleshooting.md", "message"),
            *tables(docs / "api.md", "`error`"),
        ]
        documented = [text for row in rows for text in re.findall(r"`([^`]+)`", row[0])]
        self.assertGreater(len(documented), 100)
        known = list(self.messages())
        self.assertEqual([text for text in documented if not self.is_known(text, known)], [])

    def is_known(self, text: str, known: list[re.Pattern[str]]) -> bool:
        """Whether a text is in the code, perhaps with its variable end added elsewhere."""
        forms = (text, text.removesuffix("…"), text.removesuffix(" …"))
        return any(one.fullmatch(form) for one in known for form in forms)

    def messages(self) -> Iterator[re.Pattern[str]]:
        """Every text in the code, as a pattern that matches anything for its variable parts."""
        for module in (ROOT / "infernet_router").rglob("*.py"):
            tree = ast.parse(module.read_text())
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                match node:
                    case ast.JoinedStr(values=parts):
                        text = "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "{}"
                            for part in parts
                        )
                    case ast.Constant(value=str(text)) if id(node) not in docstrings:
                        pass
                    case _:
                        continue
                fixed = _PLACEHOLDER.split(text)
                # A text with short words only, such as " is not ", would match nearly anything.
                if len(fixed) == 1 or re.search(r"[A-Z]{3}|\w{4}", " ".join(fixed)):
                    yield re.compile(".*".join(map(re.escape, fixed)), re.DOTALL)


class EventTests(SynchronousTestCase):
    def test_events(self) -> None:
        """The table of events has those of the code, each of whose log lines has one."""
        events = {"other"}
        for module in (ROOT / "infernet_router").rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(
                            value=ast.Name(id="log"),
                            attr="debug" | "info" | "warn" | "error" | "failure" | "critical",
                        )
                    ):
                        found = [word.value for word in node.keywords if word.arg == "event"]
                        self.assertEqual(len(found), 1, f"{module}, line {node.lineno}")
                        events |= set(_texts(found[0]))
        rows = tables(ROOT / "docs" / "operating.md", "event")
        documented = [text for first, *_ in rows for text in re.findall(r"`([^`]+)`", first)]
        self.assertEqual(sorted(documented), sorted(events))


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts that are constants in an expression."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
