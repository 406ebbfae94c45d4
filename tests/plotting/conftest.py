"""What the tests of pictures share: rain to draw, a browser, and that drawing leaves nothing."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


@pytest.fixture
def rain():
    rng = np.random.default_rng(0)
    obs, sim = rng.gamma(0.3, 2.0, size=(12, 6, 16, 20)), rng.gamma(0.3, 2.0, size=(7, 6, 16, 20))
    obs[0, 0, :3] = np.nan
    return obs, {"first": sim, "second": 1.5 * sim[:5]}


@pytest.fixture(autouse=True)
def rc_params_stay_and_nothing_is_shown(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--window-size=1100,1000",
)


def _browser():
    return shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """A headless Chromium, driven over the W3C WebDriver protocol by the standard library alone.

    It ends with the block it was opened in.
    """

    def __init__(self, profile):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.server = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [shutil.which("chromedriver"), f"--port={port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(300):
            try:
                if self._call("GET", "/status")["ready"]:
                    break
            except OSError:
                time.sleep(0.1)
        options = {"binary": _browser(), "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        found = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{found['sessionId']}"

    def __enter__(self):
        return self

    def __exit__(self, *args):
        try:
            self._call("DELETE", self.session)
        finally:
            self.process.terminate()
            self.process.wait(timeout=20)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path):
        """Open a file, offline, and wait until its panels are ready."""
        # Nothing but the file itself: a page that asked for anything else would miss it.
        self._call(
            "POST", f"{self.session}/goog/cdp/execute",
            {"cmd": "Network.emulateNetworkConditions", "params": {
                "offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}},
        )  # fmt: skip
        self._call("POST", f"{self.session}/url", {"url": Path(path).as_uri()})
        for _ in range(200):
            if self.run(
                "return [...document.querySelectorAll('.explorer')]"
                ".every((panel) => panel.dataset.ready)"
            ):
                return
            time.sleep(0.1)
        raise AssertionError(f"the panels of {path} did not start: {self.messages()}")

    def run(self, script, *args):
        """Run JavaScript in the page and return what it returns."""
        return self._call(
            "POST", f"{self.session}/execute/sync", {"script": script, "args": list(args)}
        )

    def find(self, selector):
        """The first element of a CSS selector."""
        return self._call(
            "POST", f"{self.session}/element", {"using": "css selector", "value": selector}
        )[ELEMENT]

    def click(self, selector, right=0, down=0):
        """A real click with the mouse, `right` and `down` of the middle of an element."""
        element = {ELEMENT: self.find(selector)}
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        moves = [
            {"type": "pointerMove", "duration": 0, "x": right, "y": down, "origin": element},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": moves}
        self._call("POST", f"{self.session}/actions", {"actions": [mouse]})

    def keys(self, selector, text):
        """Type into an element."""
        self._call("POST", f"{self.session}/element/{self.find(selector)}/value", {"text": text})

    def messages(self):
        """Errors and warnings of the page."""
        return self._call("POST", f"{self.session}/se/log", {"type": "browser"})

    def screenshot(self, path):
        """Write a PNG of what is in the window."""
        data = self._call("GET", f"{self.session}/screenshot")
        Path(path).write_bytes(base64.b64decode(data))
        return base64.b64decode(data)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A window of a real browser."""
    if not (shutil.which("chromedriver") and _browser()):
        pytest.skip("Chromium and its driver are not installed")
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found
