"""The page in headless Chromium, with the operations that tests need."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none in a container, and the pages are our own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--window-size=1280,900",
)


def start() -> webdriver.Chrome:
    """Chromium without a window; skips the test where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


class Page:
    """A report opened from a file or an address."""

    def __init__(self, driver: webdriver.Chrome, place: Path | str) -> None:
        self.driver = driver
        self.console_errors: list[str] = []
        self.requests: list[str] = []
        self._collect()
        self.console_errors, self.requests = [], []
        driver.get("about:blank")
        driver.get(place.as_uri() if isinstance(place, Path) else place)
        self.wait_for_figures()

    def wait_for_figures(self) -> None:
        time.sleep(0.2)  # longer than a change of the filter waits for the next
        self.wait(lambda: self.run("return document.body.dataset.drawn") == "all")

    def wait(self, condition: Any, *, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"waited in vain; the console showed {self.errors()}"
            time.sleep(0.05)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, selector: str, *, at_most: int = 200) -> WebElement:
        """Press Tab until the element has the focus."""
        for _ in range(at_most):
            if self.focused() == self.one(selector):
                return self.focused()
            self.press(Keys.TAB)
        raise AssertionError(f"{at_most} presses of Tab don't reach {selector}")

    def emulate(self, **media: str) -> None:
        """Set media features, such as prefers_color_scheme="dark"."""
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width: int, height: int) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def errors(self) -> list[str]:
        """The errors that the console showed so far."""
        self._collect()
        return self.console_errors

    def requested(self) -> list[str]:
        """The addresses that were requested so far."""
        self._collect()
        return self.requests

    def _collect(self) -> None:
        log = self.driver.get_log("browser")
        self.console_errors += [line["message"] for line in log if line["level"] == "SEVERE"]
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
