"""Tests of the status page in a browser: operators drain and weigh nodes."""

from unittest import skipUnless

from selenium.webdriver import Keys

from tests.integration.browser import CHROMIUM, DRIVER, MISSING
from tests.integration.programs import until
from tests.integration.test_page import TOKEN, PageTestCase

REASON = "<b>new disk</b>"
"""A reason that is not markup."""


@skipUnless(CHROMIUM and DRIVER, MISSING)
class OrderTests(PageTestCase):
    def open_node(self, address: str) -> None:
        """Open a node as somebody who comes from the list of nodes."""
        self.browser.open("nodes")
        self.browser.click("tbody a", address)
        self.browser.get("h1", address)

    def test_mouse(self) -> None:
        """A node is drained, weighed and given back by mouse; who did that is said."""
        browser, other = self.browser, self.others[0]
        self.open_node(other)
        browser.click("button", "Drain")
        browser.get("dialog tbody tr", "3 → 2")
        self.assertEqual(browser.violations(), [])
        browser.get("input[name=reason]").send_keys(REASON)
        browser.get("input[name=for]").send_keys("2h")
        browser.click("dialog button.primary", "Drain")
        browser.get("input[name=token]").send_keys("wr0ng", Keys.ENTER)
        browser.get("dialog .error", "the token is wrong")
        browser.get("input[name=token]").send_keys(TOKEN, Keys.ENTER)
        browser.get("main .state", "drained")
        browser.sees(f"ordered by env: {REASON}")
        browser.sees("no jobs ends in 2 h")
        self.assertIn("restart", browser.get("#message").text)
        browser.sees("it is safe to delete")
        for _ in range(20):
            self.assertNotEqual(self.router.pick("llm"), other)
        browser.click("button", "Weight")
        weight = browser.get("input[name=weight]")
        weight.clear()
        weight.send_keys("2.5")
        browser.get("dialog tbody tr", "llm 2 → 2 0 % → 0 %")
        browser.get("dialog", "The drain stays; both end in 2 h.")
        browser.get("input[name=reason]").send_keys("a big one", Keys.ENTER)
        browser.sees("2.5 times the usual share")
        browser.get("main .state", "drained")
        browser.sees("ends in 2 h")
        browser.click("nav a", "Orders")
        browser.get("tbody tr", "a big one")
        browser.get("section[aria-labelledby=audit] tbody tr", "401: the token is wrong")
        browser.get("tbody tr", REASON)
        browser.click("tbody a", other)
        browser.click("button", "Undo")
        browser.get("dialog", "It gets jobs again")
        browser.get("dialog tbody tr", "llm 2 → 3 0 % → 33.3 %")
        browser.click("dialog button.primary", "Undo")
        browser.get("main .state", "up")
        self.finish()

    def test_keyboard(self) -> None:
        """The same without a mouse, and Escape closes a question without an answer."""
        browser = self.browser
        browser.open()
        browser.get("canvas")
        self.tab_to("canvas")
        browser.press(Keys.HOME, Keys.ENTER)
        browser.reached("document.activeElement.matches('h1')")
        address = browser.active()
        for answer in (Keys.ESCAPE, Keys.ENTER):
            self.tab_to("button.primary")
            browser.press(Keys.ENTER)
            browser.get("dialog ul li, dialog tbody tr")
            browser.reached("document.activeElement.name === 'reason'")
            browser.press("maintenance", answer)
            if answer == Keys.ESCAPE:
                browser.reached("!document.querySelector('dialog')")
                browser.get("h1", address)
        # It is the only node with the container prover.
        browser.get("input[name=token]")
        browser.press(TOKEN, Keys.ENTER)
        browser.get("dialog .error", "prover")
        browser.press(Keys.ENTER)
        browser.get("main .state", "drained")
        until(lambda: self.router.pick("prover") is None, "drained")
        browser.press(Keys.ESCAPE)
        browser.reached("document.activeElement.matches('canvas')")
        self.finish()

    def tab_to(self, selector: str) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(40):
            self.browser.press(Keys.TAB)
            if self.browser.run("return document.activeElement.matches(arguments[0])", selector):
                return
        self.fail(f"{selector} cannot be reached")
