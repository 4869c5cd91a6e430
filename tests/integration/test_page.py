"""Tests of the status page in a browser: what operators see, and how they get around."""

from pathlib import Path
from unittest import skipUnless

from selenium.webdriver import ActionChains, Keys
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import CHROMIUM, DRIVER, MISSING, Browser
from tests.integration.programs import TROUBLE, Node, Router, until

TOKEN = "t0psecret"
MOST_ELEMENTS = 2000


class PageTestCase(SynchronousTestCase):
    """
    A router with nodes, and a browser.

    :cvar crowd: how many nodes there are besides one that can be killed, which is the first.
    """

    crowd = 2

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.node = Node(self, self.folder, "llm", "prover")
        folder = self.folder / "crowd"
        folder.mkdir()
        port = Node(self, folder, "llm", interface="").port
        self.others = [f"127.0.1.{number + 1}:{port}" for number in range(self.crowd)]
        self.addresses = [self.node.address, *self.others]
        (self.folder / "ips.txt").write_text("\n".join(self.addresses))
        self.router = Router(
            self, self.folder, "--admin", "tcp:0:interface=127.0.0.1",
            variables={"INFERNET_ROUTER_ADMIN_TOKEN": TOKEN},
        )  # fmt: skip
        until(lambda: self.router.pick("llm"), "an answer")
        port = int(self.router.output().partition(" for operators")[0].rpartition(":")[2])
        self.browser = Browser(self, f"http://127.0.0.1:{port}")

    def finish(self) -> None:
        """What every test ends with: nothing was odd, in the browser or in the router."""
        self.browser.check()
        self.assertNotRegex(self.router.output(), TROUBLE)


@skipUnless(CHROMIUM and DRIVER, MISSING)
class PageTests(PageTestCase):
    def test_overview(self) -> None:
        """One sentence says how it is; a node that is killed is named, and one click away."""
        browser = self.browser
        browser.open()
        browser.sees("3 of 3 nodes up")
        for name in ("Answers/s", "No node/s", "p99", "Up or suspect"):
            browser.get("figure.spark", name)
        self.assertEqual(browser.get("tbody tr", "up").text.split()[:2], ["up", "3"])
        self.node.kill()
        browser.sees("2 of 3 nodes up")
        browser.sees("1 of 3 nodes is down")
        self.assertIn("1 down", browser.driver.title)
        browser.click(".problem a")
        browser.sees("1 node down")
        self.assertIn("connection refused", browser.get("tbody tr").text)
        browser.click("tbody a", self.node.address)
        browser.sees("connection refused")
        self.finish()

    def test_map(self) -> None:
        """The map is used by mouse and keyboard; Escape closes what Enter opened."""
        browser = self.browser
        browser.open()
        canvas = browser.get("canvas")
        move = ActionChains(browser.driver)
        width, height = canvas.size["width"], canvas.size["height"]
        move.move_to_element_with_offset(canvas, 8 - width // 2, 8 - height // 2).perform()
        tip = browser.get(".tip").text
        self.assertRegex(tip, r"^127\.0\.\d\.\d:\d+, up, a job waits under 1 s$")
        canvas.click()  # in the middle, where there is no node
        move.click().perform()
        browser.get("h1", tip.partition(",")[0])
        browser.press(Keys.ESCAPE)
        browser.reached("document.activeElement.matches('canvas')")
        browser.press(Keys.HOME, Keys.ARROW_RIGHT)
        browser.reached("document.querySelector('.map [role=status]').textContent.includes('up')")
        second = browser.run("return document.querySelector('.tip').textContent").partition(",")[0]
        browser.press(Keys.ENTER)
        browser.get("h1", second)
        browser.reached("document.activeElement.matches('h1')")
        browser.press(Keys.ESCAPE)
        browser.sees("3 of 3 nodes up")
        browser.click("#grouped")
        browser.sees("llm + prover")
        browser.driver.refresh()
        browser.shown()
        browser.sees("llm + prover")
        self.finish()

    def test_unseen(self) -> None:
        """A tab that nobody sees asks for nothing, and goes on when somebody looks again."""
        browser = self.browser
        browser.open()
        hide = (
            "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        browser.run(hide, True)
        browser.run("return fetch('/admin/v1/overrides').then((response) => response.text())")
        browser.requests()
        self.node.kill()
        until(lambda: f"{self.node.address} is down" in self.router.output(), "down")
        self.assertEqual(browser.requests(), [])
        self.assertIn("3 of 3 nodes up", browser.text())
        browser.run(hide, False)
        browser.sees("2 of 3 nodes up")
        self.finish()

    def test_tabs(self) -> None:
        """Eight tabs stay live: none waits for a connection that another one holds."""
        driver = self.browser.driver
        self.browser.open()
        for _ in range(7):
            driver.switch_to.new_window("tab")
            self.browser.open()
        self.node.kill()
        for handle in driver.window_handles:
            driver.switch_to.window(handle)
            self.browser.sees("2 of 3 nodes up")
        self.finish()

    def test_lost(self) -> None:
        """The page says that the router is gone, and goes on once it is back."""
        self.browser.open()
        self.router.kill()
        until(lambda: self.browser.find("#status", "no connection to the router"), "said")
        self.assertIn("3 of 3 nodes up", self.browser.text())


@skipUnless(CHROMIUM and DRIVER, MISSING)
class ListTests(PageTestCase):
    crowd = 69

    def test_nodes(self) -> None:
        """Nodes are filtered, sorted and paged, all of which is in the address."""
        browser = self.browser
        browser.open("nodes")
        browser.sees("1 to 50 of 70")
        count = browser.run("return document.querySelectorAll('*').length")
        self.assertLess(count, MOST_ELEMENTS)
        browser.click("button", "Next")
        browser.sees("51 to 70 of 70")
        browser.driver.refresh()
        browser.sees("51 to 70 of 70")
        browser.click("th button", "Address")
        browser.sees("1 to 50 of 70")
        browser.get("th[aria-sort=ascending]", "Address")
        browser.click("th button", "Address")
        browser.get("th[aria-sort=descending]", "Address")
        browser.get("input[name=container]").send_keys("prover", Keys.ENTER)
        browser.sees("1 node with prover")
        self.node.kill()
        browser.open("nodes?state=problems")
        browser.sees("1 node down or suspect")
        browser.get("option[value=down]").click()
        browser.sees("1 node down")
        browser.get("input[name=q]").send_keys("127.0.1.", Keys.ENTER)
        browser.sees("no node is like this")
        browser.driver.back()
        browser.sees("connection refused")
        browser.open("nodes?sort=nonsense")
        browser.sees("sort must be one of")
        self.finish()

    def test_decisions(self) -> None:
        """A decision has its bars; what would be chosen now is explained."""
        browser = self.browser
        browser.open("decisions")
        browser.click("tbody a", "ago")
        browser.sees("What the job would have cost")
        self.assertLessEqual(len(browser.driver.find_elements("css selector", "svg.meter")), 16)
        self.assertEqual(len(browser.driver.find_elements("css selector", "tr.chosen")), 1)
        browser.press(Keys.ESCAPE)
        browser.sees("Last decisions")
        browser.get("input[name=id]").send_keys("1-2-3-nonsense", Keys.ENTER)
        browser.sees("there is no such decision")
        browser.open("try")
        browser.get("input[name=container]").send_keys("prover llm")
        browser.get("input[name=node]").send_keys(self.others[0], Keys.ENTER)
        browser.sees("1 candidate for prover + llm")
        browser.get("main p", self.others[0])
        browser.open("try?container=painter")
        browser.sees("painter")
        browser.open("containers")
        browser.get("tbody tr", "survives the loss of 69 nodes")
        browser.get("tbody tr", "does not survive the loss of a node")
        browser.open("setup")
        browser.sees("ips.txt")
        self.finish()
