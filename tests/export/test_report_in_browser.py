"""The report in a real browser, driven through its debugging pipe: meshes load and are drawn."""

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
import trimesh
from PIL import Image

from ast_jax.export import Gallery, ObjectRow, Text, encode_glb, write_report
from render import FaceTexels

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
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


def ball(colour: list[float]) -> bytes:
    sphere = trimesh.creation.icosphere(subdivisions=1)
    texels = np.ascontiguousarray(np.broadcast_to(colour, (len(sphere.faces), 2, 2, 3)))
    return encode_glb(np.asarray(sphere.vertices) * 0.5, np.asarray(sphere.faces), texture=FaceTexels(texels[None]))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome binary on this machine")
def test_meshes_are_drawn(browser, tmp_path):
    """Two meshes in the window are loaded, two far below only after scrolling; they have their colours."""
    picture = np.full((8, 8, 3), 128, np.uint8)
    red, blue = ball([1.0, 0.0, 0.0]), ball([0.0, 0.0, 1.0])
    top = Gallery("", [ObjectRow("first", picture, red, red)])
    bottom = Gallery("", [ObjectRow("last", picture, blue, blue)])
    write_report(tmp_path / "report.html", "t", top, Text("", ["."] * 200), bottom)

    browser.call("Page.navigate", url=(tmp_path / "report.html").as_uri())
    browser.wait_for("document.body?.dataset.ready === '2'")
    assert browser.evaluate("document.body.dataset.viewers") == "4"
    pixels = browser.screenshot_when(lambda p: count(p, channel=0) > 10_000)
    assert count(pixels, channel=2) == 0
    assert browser.evaluate("document.body.dataset.ready") == "2"

    browser.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    browser.wait_for("document.body.dataset.ready === '4'")
    browser.screenshot_when(lambda p: count(p, channel=2) > 10_000)
    assert browser.evaluate("document.body.dataset.failed") is None
    assert browser.complaints == []
    browser.evaluate("console.error('probe')")
    browser.evaluate("1")
    assert len(browser.complaints) == 1  # complaints would have been heard


def count(pixels: np.ndarray, channel: int) -> int:
    """Pixels in which one primary colour stands alone."""
    others = np.delete(pixels, channel, axis=-1)
    return int(((pixels[..., channel] > 100) & (others < 80).all(-1)).sum())
