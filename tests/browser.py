"""Headless Chromium, driven through its debugging pipe; for tests of pages."""

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome binary on this machine")
SECONDS = 300  # shaders are compiled in software on the first start


class Browser:
    """Headless Chromium, DevTools protocol over two pipes: JSON messages that end with a zero byte."""

    def __init__(self, folder: Path):
        browser_reads, self.write_end = os.pipe()
        self.read_end, browser_writes = os.pipe()
        flags = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "--no-first-run", "--disable-sync"]
        flags += ["--disable-background-networking", "--disable-component-update", "--window-size=1000,700"]
        # The browser expects the pipes at 3 and 4.
        command = f'exec "$@" 3<&{browser_reads} 4>&{browser_writes}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", CHROMIUM, *flags, "about:blank"],
            pass_fds=(browser_reads, browser_writes),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )
        os.close(browser_reads), os.close(browser_writes)
        os.set_blocking(self.read_end, False)
        self.buffer, self.last_id, self.complaints = b"", 0, []
        self.session = None
        (page,) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Send one command and wait for its answer; note complaints of the page that come in between."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for answer in self.received():
                if answer.get("id") == self.last_id:
                    assert "error" not in answer, answer
                    return answer["result"]
                self.note(answer)
            time.sleep(0.02)
        raise TimeoutError(f"no answer to {method} in {SECONDS} s")

    def received(self):
        with contextlib.suppress(BlockingIOError):
            self.buffer += os.read(self.read_end, 1 << 20)
        *messages, self.buffer = self.buffer.split(b"\0")
        return [json.loads(message) for message in messages]

    def note(self, event: dict):
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.complaints.append(parameters["args"])
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"])

    def evaluate(self, expression: str):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def choose_files(self, selector: str, *files: Path):
        """Put files into an ``<input type=file>``, as whoever uses the page does."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")["result"]
        self.call("DOM.setFileInputFiles", objectId=found["objectId"], files=[str(file) for file in files])

    def mouse(self, kind: str, x: float, y: float):
        """``mousePressed``, ``mouseMoved`` or ``mouseReleased`` with the left button."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def wait_for(self, expression: str):
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true after {SECONDS} s: {expression}; page says {self.complaints}")
            time.sleep(0.1)

    def screenshot_when(self, is_drawn) -> np.ndarray:
        """The window once it satisfies ``is_drawn``: meshes fade in some time after they are loaded."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
            if is_drawn(pixels):
                return pixels
            time.sleep(0.2)
        raise TimeoutError(f"nothing drawn in {SECONDS} s")

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.read_end), os.close(self.write_end)


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()
