"""Headless Chromium spoken to over a pipe by the DevTools protocol: no port, no package."""

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--disable-quic", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip


class Browser:
    """One page. `complaints`: everything that the console, the page's rules or a script complained of."""

    def __init__(self, profile: Path) -> None:
        self.number, self.session = 0, ""
        self.complaints: list[str] = []
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def pipes() -> None:  # Chromium reads from 3 and writes to 4
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)

        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            command, preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._rest = b""
        try:
            target = self("Target.createTarget", url="about:blank")["targetId"]
            self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self(f"{domain}.enable")
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:  # it has its own files and nobody else's
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self.number += 1
        asked = {"id": self.number, "method": method, "params": parameters}
        asked |= {"sessionId": self.session} if self.session else {}
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        answer = self._until(lambda told: told.get("id") == self.number)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, page: Path, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Load a page from the disk in a window of this width, and wait for it."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Page.navigate", url=page.as_uri())
        self._until(lambda told: told.get("method") == "Page.loadEventFired")

    def ask(self, code: str) -> Any:
        """The value of an expression in the page."""
        answer = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        code = {"Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, " ": 32, "Tab": 9}[key]
        named = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        self("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self("Input.dispatchKeyEvent", type="keyUp", **named)

    def click(self, where: str) -> None:
        """Click with the mouse on the middle of the first element of a selector."""
        x, y = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(where)}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path, clip: dict[str, float] | None = None, whole: bool = False) -> None:
        """A PNG of the window, of a part of the page, or of all of it."""
        more = {"clip": clip | {"scale": 1}} if clip else {}
        told = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole or bool(clip), **more)
        file.write_bytes(b64decode(told["data"]))

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self._rest:
                message, _, self._rest = self._rest.partition(b"\0")
                told = json.loads(message)
                self._listen(told)
                if wanted(told):
                    return dict(told)
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium has not answered for {PATIENCE:g} s"
            piece = os.read(self._in, 1 << 16)
            assert piece, "Chromium went away"
            self._rest += piece

    def _listen(self, told: dict[str, Any]) -> None:
        method, what = told.get("method"), told.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(what["exceptionDetails"]))
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(what["entry"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(what["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {what['message']}")
