"""Debian's Chromium, told what to do over its own pipe: nothing has to be installed but the browser."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from darkroom.testing.waiting import wait_for

Json = dict[str, Any]

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-pipe",
)
KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "End": 35,
    "Home": 36,
}
ANSWER_S = 60.0


class Browser:
    """One tab. `events` are all that it has told; nothing of it is thrown away."""

    def __init__(self, profile: Path) -> None:
        ours, its = os.pipe(), os.pipe()
        command = ["chromium", *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{ours[0]} 4>&{its[1]}', "bash", *command],  # it knows its pipe as 3 and 4
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(ours[0], its[1]),
        )
        os.close(ours[0])
        os.close(its[1])
        self._writer, self._reader = ours[1], its[0]
        self._number = 0
        self._rest = b""
        self._session = ""
        self.events: list[Json] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._writer)
        os.close(self._reader)

    def call(self, method: str, **params: Any) -> Json:
        """Say something to it, and wait for what it answers."""
        self._number += 1
        said: Json = {"id": self._number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._writer, json.dumps(said).encode() + b"\0")
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, f"{method}: {heard['error']}"
                answer: Json = heard["result"]
                return answer
            self.events.append(heard)
        raise AssertionError(f"no answer to {method}")

    def _hear(self) -> Json:
        while b"\0" not in self._rest:
            more = os.read(self._reader, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\0")
        heard: Json = json.loads(raw)
        return heard

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise what it comes to."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, script: str) -> Any:
        """Until it is true; returns what it is then."""
        return wait_for(lambda: self.run(script), script)

    def open(self, address: str) -> None:
        """Go there, and wait until the first results are on the page."""
        self.call("Page.navigate", url=address)
        self.wait("document.documentElement?.dataset.ready === '1'")

    def window(self, width: int, height: int, *, phone: bool = False) -> None:
        """How large it is."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def media(self, **features: str) -> None:
        """What a person prefers: `prefers_color_scheme="dark"`."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def press(self, *keys: str) -> None:
        """Keys, one after another."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            code = KEYS.get(key, ord(key[0].upper()))
            about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector: str) -> None:
        """As a person does: where it is, once it is there."""
        self.wait(f"!!{_element(selector)}")
        script = (
            "(e => { e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            f" return [b.x + b.width / 2, b.y + b.height / 2]; }})({_element(selector)})"
        )
        x, y = self.run(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Into a field, in the place of what is there."""
        self.run(f"(e => {{ e.focus(); e.select(); }})({_element(selector)})")
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, label: str) -> None:
        """One of a list."""
        self.run(
            f"(e => {{ e.selectedIndex = [...e.options].findIndex((o) => o.label === {json.dumps(label)});"
            f" e.dispatchEvent(new Event('change')); }})({_element(selector)})"
        )

    def swipe(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """A finger."""
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": start[0], "y": start[1]}])
        for x, y in (middle, end):
            self.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def picture(self, file: Path) -> bytes:
        """What a person sees, as a PNG."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        file.write_bytes(data)
        return data

    def told(self, method: str) -> Iterator[Json]:
        """All events of this kind."""
        return (each["params"] for each in self.events if each.get("method") == method)

    def complaints(self) -> list[str]:
        """What stands in its console: errors, warnings, violations of the page's policy."""
        logged = [f"{each['entry']['text']} {each['entry'].get('url', '')}" for each in self.told("Log.entryAdded")]
        thrown = [json.dumps(each["exceptionDetails"]) for each in self.told("Runtime.exceptionThrown")]
        said = [json.dumps(each["args"]) for each in self.told("Runtime.consoleAPICalled") if each["type"] != "log"]
        return logged + thrown + said

    def requested(self) -> list[str]:
        """The address of everything that it has asked for."""
        return [each["request"]["url"] for each in self.told("Network.requestWillBeSent")]


def _element(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with Browser(folder / "profile") as running:
        yield running
