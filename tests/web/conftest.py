"""The web client in a real Chromium. Skipped with a sentence where there is none, or where the client is not built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api import web
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.queue import events
from milo.settings import Settings
from tests.api.conftest import KEY, finish, prepare, whisper_folder  # noqa: F401
from tests.support.servers import ROOT, api_in_thread

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
BROWSER = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
BROWSER += ["--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage"]
SCREENSHOTS = os.environ.get("MILO_SCREENSHOTS")
"""A folder for a picture of each screen; nothing: none is made."""


def why_not() -> str | None:
    """Why the browser tests can't run here."""
    if CHROMIUM is None:
        return "no Chromium is installed here (apt install chromium)"
    if not (web.FOLDER / "index.html").is_file() or not AXE.is_file():
        return "the web client is not built; `make web` builds it"
    return None


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts a Chromium: `launch("--flag", …)`. All of them end with the module: as long as Playwright's driver lives,
    its event loop counts as running in this thread, and no other test could call `asyncio.run`."""
    if reason := why_not():
        pytest.skip(reason)
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        yield lambda *flags: driver.chromium.launch(executable_path=CHROMIUM, args=[*BROWSER, *flags])


class Visit:
    """A page of a visitor of his own, and what must not happen on it."""

    def __init__(self, browser: Any, url: str, key: str | None = None, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url, **({"locale": "en"} | context))
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        if key:
            self.context.add_init_script(
                f"sessionStorage.getItem('milo.key') ?? sessionStorage.setItem('milo.key', '{key}')"
            )

    def _said(self, message: Any) -> None:
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(request.url)

    def go(self, path: str) -> Any:
        self.page.goto(path)
        return self.page

    def until(self, condition: str, given: Any = None, timeout_s: int = 60) -> None:
        """Wait until this is true on the page. Playwright's own way evaluates text, which the page's policy forbids."""
        look = f"const look = () => ({condition}) ? done() : setTimeout(look, 20)"
        timed = f"setTimeout(() => failed(new Error('it did not come to that')), {timeout_s * 1000})"
        self.page.evaluate(f"given => new Promise((done, failed) => {{ {look}; {timed}; look() }})", given)

    def axe(self) -> list[str]:
        """What axe-core finds on the page, one line each."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]

    def picture(self, name: str) -> None:
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))

    def close(self) -> None:
        self.context.close()
        assert not self.complaints, self.complaints
        assert not self.foreign, f"requests left the origin: {self.foreign}"


@dataclass(frozen=True)
class Site:
    url: str
    ledger: Ledger
    keys: Keys
    settings: Settings

    def transcribed(
        self, name: str, document: dict[str, Any], owner: str = "operator", path: Path | None = None
    ) -> str:
        """A transcription that has ended; its id."""
        source = {"blob": None if path else "0" * 64, "path": str(path) if path else None, "name": name}
        payload = {"source": source, "model": "speech-test"}
        job = self.ledger.create(NewJob(kind="stt", payload=payload, owner=owner, priority="interactive"))
        finish(self.ledger, job.id, document)
        return job.id


@pytest.fixture(scope="module")
def site(
    redis_url: str,
    migrated: Path,
    whisper_folder: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    bare = Settings(home=folder / "home", redis_url=redis_url, _env_file=None)
    settings = prepare(bare, migrated, whisper_folder, folder / "archive")
    ledger = Ledger.open(settings, events.publisher(settings))
    with api_in_thread(settings) as url:
        yield Site(url, ledger, Keys(ledger.engine, settings), settings)
    ledger.engine.dispose()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    opened = launch("--js-flags=--expose-gc", "--enable-precise-memory-info")
    yield opened
    opened.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Callable[..., Visit]]:
    """Opens a page as a visitor of his own; at the end nothing may have complained."""
    opened: list[Visit] = []

    def open_(key: str | None = KEY, base: str | None = None, **context: Any) -> Visit:
        opened.append(Visit(browser, base or site.url, key, **context))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()
