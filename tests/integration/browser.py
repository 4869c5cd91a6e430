"""A browser: chromium without a window, as somebody who looks at the status page uses it."""

import json
import shutil
from collections.abc import Callable
from typing import Any

from axe_core_python.base import AXE_SCRIPT
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "chromium is missing: apt-get install chromium chromium-driver"

_EXPECTED = ("status of 400", "status of 401", "status of 403", "status of 404", "status of 409")
"""What the console may say: that the router refused something, which the page says too."""


class Browser:
    """
    A browser with one tab, which ends after its test.

    :param base: where the status page is.
    """

    def __init__(self, test: SynchronousTestCase, base: str) -> None:
        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        options.add_argument("--headless=new")
        options.add_argument("--no-sandbox")
        options.add_argument("--disable-dev-shm-usage")
        options.add_argument("--disable-gpu")
        options.add_argument("--window-size=1280,1000")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(str(DRIVER)))
        test.addCleanup(self.driver.quit)
        self._test = test
        self._base = base

    def open(self, view: str = "") -> None:
        """Open a view as from a bookmark, and wait until it shows what the router says."""
        self.driver.get("about:blank")
        self.driver.get(f"{self._base}/#/{view}")
        self.shown()

    def shown(self) -> None:
        """Wait until there is a view, and it is live."""
        live = "#status[data-is=live]"
        until(lambda: self.find(".view h1") and self.find(live), "a live page")

    def find(self, selector: str, text: str = "") -> WebElement | None:
        """The first element with this selector that has this text, if there is one."""
        try:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return next((each for each in found if text in each.text), None)
        except StaleElementReferenceException:
            return None

    def get(self, selector: str, text: str = "") -> WebElement:
        """The same, once there is one."""
        found = until(lambda: self.find(selector, text), f"{selector} with {text!r}")
        assert found is not None
        return found

    def click(self, selector: str, text: str = "") -> None:
        self.get(selector, text).click()

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def text(self) -> str:
        """All text of the view."""
        try:
            return self.driver.find_element(By.ID, "main").text
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    def sees(self, text: str) -> None:
        """Wait until the view has this text."""
        until(lambda: text in self.text(), f"seeing {text!r}")

    def run(self, script: str, *arguments: object) -> Any:
        """What JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def reached(self, script: str) -> Any:
        """Wait until what JavaScript returns is true."""
        return until(lambda: self.run(f"return {script}"), script)

    def emulate(self, *, dark: bool = False, width: int = 1280) -> None:
        """Be a screen of this width, of somebody who likes it dark or not."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def violations(self) -> list[tuple[str, list[str]]]:
        """What axe finds that some cannot read or use: its rules, and the elements."""
        self.run(AXE_SCRIPT)
        found = self.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
        )
        return [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in found["violations"]
        ]

    def requests(self) -> list[str]:
        """The URLs of all requests since the last call."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        return [str(event["params"]["request"]["url"]) for event in sent]

    def check(self) -> None:
        """Check that the console is clean, and that nothing came from elsewhere."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        bad = [text for text in said if not any(expected in text for expected in _EXPECTED)]
        self._test.assertEqual(bad, [])
        others = [url for url in self.requests() if not url.startswith((self._base, "about:"))]
        self._test.assertEqual(others, [])

    def active(self, attribute: Callable[[WebElement], Any] = lambda element: element.text) -> Any:
        """Something of the element that has the focus, its text by default."""
        return attribute(self.driver.switch_to.active_element)
