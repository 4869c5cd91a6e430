"""Tests of infernet_router.admin.page."""

import re
from importlib.resources import files

from infernet_router.admin.access import Role
from infernet_router.admin.page import page_file
from tests.admin.case import AdminTestCase

KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
"""The content type of each kind of file, by the end of its name."""


def kind(name: str) -> str:
    return name.rpartition(".")[2]


NAMES = sorted(
    path.name for path in files("infernet_router.admin.page").iterdir() if kind(path.name) in KINDS
)
ODD = re.compile(
    r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|javascript:"
    r"|https?://(?!www\.w3\.org/2000/svg)|\son\w+=\"|style=\""
)
"""What would make markup of text, run it, or fetch something from elsewhere."""


class PageTests(AdminTestCase):
    def test_files(self) -> None:
        """Each file has its content type, and is sent again only when it has changed."""
        for name in NAMES:
            path = "/" if name == "index.html" else f"/page/{name}"
            answer = self.ask(path)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["content-type"], KINDS[kind(name)])
            self.assertEqual(answer.headers["cache-control"], "no-cache")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
            self.assertEqual(answer.body, page_file(name).content)
            known = {"If-None-Match": answer.headers["etag"]}
            again = self.ask(path, headers=known)
            self.assertEqual((again.status, again.body), (304, b""))
            head = self.ask(path, method="HEAD")
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(answer.body)))

    def test_free(self) -> None:
        """Its files need no token, from anywhere; what they show does, and so do changes."""
        self.give("alice", Role.OPERATOR, "t0psecret")
        for name in NAMES:
            self.assertEqual(self.ask(f"/page/{name}", peer="192.0.2.9").status, 200)
        self.assertEqual(self.ask("/", peer="192.0.2.9").status, 200)
        self.assertEqual(self.ask("/admin/v1/map", peer="192.0.2.9").status, 401)
        self.assertEqual(self.ask("/", peer="192.0.2.9", host="evil.invalid").status, 403)
        self.assertEqual(self.ask("/", method="POST").status, 401)

    def test_others(self) -> None:
        """Nothing but its files is served."""
        for path in ("/page/", "/page/none.js", "/page/__init__.py", "/page/%2e%2e%2f__init__.py",
                     "/page/..%2froutes.py", "/page/../routes.py"):  # fmt: skip
            self.assertEqual(self.ask(path).status, 404, path)

    def test_no_markup(self) -> None:
        """Scripts make no markup, run no text, and fetch nothing from elsewhere."""
        for name in NAMES:
            self.assertEqual(ODD.findall(page_file(name).content.decode()), [], name)

    def test_small(self) -> None:
        """Each file can be read in one go."""
        for name in NAMES:
            self.assertLess(page_file(name).content.count(b"\n"), 400, name)
