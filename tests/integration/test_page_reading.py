"""Tests of the status page in a browser: that everyone can read it, whatever nodes say."""

from unittest import skipUnless
from urllib.parse import quote

from selenium.webdriver import Keys

from tests.integration.browser import CHROMIUM, DRIVER, MISSING
from tests.integration.programs import Node, until
from tests.integration.test_page import PageTestCase

EVIL = "<img src=x onerror=\"document.body.id='hacked'\">"
"""What would run a script, if it were markup."""


@skipUnless(CHROMIUM and DRIVER, MISSING)
class ReadingTests(PageTestCase):
    def test_everyone(self) -> None:
        """Every view is readable on any screen, light or dark, and to a screen reader."""
        browser = self.browser
        browser.open("decisions")
        decision = str(browser.get("tbody a", "ago").get_attribute("href")).partition("#/")[2]
        node = f"node/{quote(self.node.address, safe='')}"
        self.node.kill()
        views = ("?group=containers", "nodes", node, "containers", "decisions", decision,
                 "try?container=llm", "orders", "setup")  # fmt: skip
        for view in views:
            for dark, width in ((False, 1280), (True, 390)):
                browser.emulate(dark=dark, width=width)
                browser.open(view)
                self.assert_readable(f"{view}, {'dark' if dark else 'light'}, {width} pixels")
        self.finish()

    def assert_readable(self, what: str) -> None:
        """Check that nothing is off the screen, and that axe finds nothing."""
        browser = self.browser
        self.assertFalse(browser.run("return document.body.scrollWidth > innerWidth"), what)
        self.assertEqual(browser.violations(), [], what)

    def test_evil(self) -> None:
        """What nodes and clients say is text, never markup: nothing of it runs."""
        browser, folder = self.browser, self.folder / "evil"
        folder.mkdir()
        evil = Node(self, folder, EVIL, interface="127.0.2.1", knobs={"version": EVIL})
        address = f"127.0.2.1:{evil.port}"
        (self.folder / "ips.txt").write_text("\n".join([*self.addresses, address]))
        asked = f"/api/v1/ip?container={quote(EVIL)}"
        until(lambda: self.router.get(asked)[0] == 200, "an answer")
        evil_path = quote(EVIL)
        attempt = f"try?container={evil_path}&model_id={evil_path}&node={evil_path}"
        views = ("?group=containers", f"nodes?container={evil_path}&q={quote(EVIL[:10])}",
                 f"node/{quote(address, safe='')}", "decisions", "containers", "setup", attempt,
                 f"node/{evil_path}", f"decision/{evil_path}", evil_path)  # fmt: skip
        for view in views:
            browser.open(view)
            self.assertEqual(browser.run("return document.querySelectorAll('main img').length"), 0)
        browser.open("containers")
        browser.sees(EVIL)
        browser.click("tbody a", "Try")
        browser.press(Keys.ESCAPE)
        browser.open(attempt)
        self.assertEqual(browser.run("return document.body.id"), "")
        self.finish()

    def test_many(self) -> None:
        """A node that makes up a thousand containers with long names makes no view large."""
        browser, folder = self.browser, self.folder / "many"
        folder.mkdir()
        names = [f"container-{number}-{'x' * 60}" for number in range(1000)]
        many = Node(self, folder, *names, interface="127.0.2.1")
        address = f"127.0.2.1:{many.port}"
        (self.folder / "ips.txt").write_text("\n".join([*self.addresses, address]))
        until(lambda: self.router.pick(*names[:50]) == address, "an answer")
        for view in ("?group=containers", "nodes", f"node/{quote(address, safe='')}", "decisions",
                     "containers"):  # fmt: skip
            browser.open(view)
            browser.sees("container-")
            self.assertLess(browser.run("return document.querySelectorAll('*').length"), 2000)
            self.assertFalse(browser.run("return document.body.scrollWidth > innerWidth"), view)
        self.finish()
