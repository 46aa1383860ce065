"""The client against a real API, jobs ended by hand: who may come in, what is shown, and that nothing else runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from milo.stack.ports import free_port
from tests.api.conftest import KEY, transcript
from tests.support import servers
from tests.web.conftest import SCREENSHOTS, Site, Visit

pytestmark = pytest.mark.timeout(170)
HOSTILE = "<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"


def test_a_wrong_key_is_told_and_a_right_one_stays_in_this_tab(visit: Callable[..., Visit]) -> None:
    page = visit(key=None).go("/")
    page.fill("input[type=password]", "wrong")
    page.click("button[type=submit]")
    page.wait_for_selector("text=This key is wrong, expired or revoked.")
    page.fill("input[type=password]", KEY)
    page.click("button[type=submit]")
    page.wait_for_url("**/conversation")
    assert KEY not in page.url
    assert page.evaluate("sessionStorage.getItem('milo.key')") == KEY
    assert KEY not in page.evaluate("JSON.stringify(localStorage)")
    page.click("button[aria-label='Sign out']")
    page.wait_for_selector("input[type=password]")
    assert KEY not in page.evaluate("JSON.stringify([sessionStorage, localStorage])")


def test_a_link_that_counts_once_opens_the_page_and_leaves_the_address(visit: Callable[..., Visit], site: Site) -> None:
    made = httpx.post(f"{site.url}/api/v1/web/links", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    ticket = made.json()["once"]
    page = visit(key=None).go(f"/#once={ticket}")
    page.wait_for_url("**/conversation")
    assert ticket not in page.url and page.evaluate("history.length") <= 2
    again = visit(key=None).go(f"/#once={ticket}")
    again.wait_for_selector("[role=alert]")
    assert ticket not in again.url


def test_a_key_that_was_revoked_is_asked_for_again(visit: Callable[..., Visit], site: Site) -> None:
    made = site.keys.create("guest", ("read", "write"))
    page = visit(key=made.secret).go("/transcription")
    page.wait_for_selector("h1:has-text('Transcription')")
    assert page.locator("nav a[href='/admin']").count() == 0, "the admin screen is absent without its scope"
    page.goto("/admin")
    page.wait_for_selector("text=This is not here")
    httpx.delete(
        f"{site.url}/api/v1/keys/{made.key.id}", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    ).raise_for_status()
    page.goto("/transcription")
    page.wait_for_selector("text=Your key is no longer valid")


def test_what_strangers_send_is_text(visit: Callable[..., Visit], site: Site) -> None:
    job_id = site.transcribed(f"{HOSTILE}.wav", transcript(HOSTILE, "Salama"))
    page = visit().go("/transcription")
    page.click(f"a[href='/transcription/{job_id}']")
    page.wait_for_selector("[data-segment='1']")
    assert HOSTILE in page.inner_text("[data-segment='0']") and HOSTILE in page.inner_text("h1")
    assert page.title() == "Milo" and page.locator("main img").count() == 0


def test_ten_thousand_segments_are_few_nodes_and_what_is_not_on_screen_is_found(
    visit: Callable[..., Visit], site: Site
) -> None:
    document = transcript(*(f"Fehezanteny faha {number} amin'ny lahateny lava." for number in range(10_000)))
    page = visit().go(f"/transcription/{site.transcribed('long.wav', document)}")
    page.wait_for_selector("[data-segment='0']")
    assert page.evaluate("document.querySelectorAll('*').length") <= 3000
    page.keyboard.press("/")
    page.keyboard.type("faha 9876 ")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-segment='9876']")
    assert page.inner_text("form[role=search] [role=status]") == "1 place"


TROUBLES = {
    503: {"code": "no_redis", "title": "A part of Milo is down", "detail": "Redis does not answer"},
    429: {"code": "rate_limited", "title": "Too many requests", "detail": "100 requests a minute are allowed"},
}
SENTENCES = {503: "Misy ampahany amin’i Milo tsy mandeha", 429: "Be loatra ny fangatahana"}


@pytest.mark.parametrize("status", TROUBLES)
def test_a_server_that_can_not_is_a_sentence_with_a_way_on(status: int, visit: Callable[..., Visit]) -> None:
    visitor = visit(locale="mg")
    body = json.dumps({"status": status, **TROUBLES[status]})
    headers = {"content-type": "application/problem+json", "retry-after": "2"}
    asked, tries = 0, 3 if status == 503 else 1  # what is down is asked for twice more by itself

    def answer(route: Any) -> None:
        nonlocal asked
        asked += 1
        route.fulfill(status=status, body=body, headers=headers) if asked <= tries else route.continue_()

    visitor.page.route("**/api/v1/jobs?*", answer)
    page = visitor.go("/transcription")
    page.wait_for_selector(f"[role=alert]:has-text('{SENTENCES[status]}')")
    page.wait_for_selector("button:has-text('Andramo indray'):enabled").click()
    page.wait_for_selector("[role=alert]", state="detached")


PAGES = (
    "/conversation",
    "/transcription",
    "/speech",
    "/monitor",
    "/admin",
    "/admin/jobs",
    "/admin/keys",
    "/admin/models",
)


@pytest.mark.parametrize("language", ["mg", "fr", "en"])
def test_every_screen_is_accessible_in_both_themes(language: str, visit: Callable[..., Visit], site: Site) -> None:
    job_id = site.transcribed("axe.wav", transcript("Salama", "Veloma"))
    found: list[str] = []
    # colours know no language, and the longest words are tried where there is least room
    for theme in ("light", "dark") if language == "en" or SCREENSHOTS else ("dark",):
        telephone = theme == "dark"
        size = {"width": 390, "height": 844} if telephone else {"width": 1280, "height": 800}
        how: dict[str, Any] = {"locale": language, "color_scheme": theme, "viewport": size, "reduced_motion": "reduce"}
        stranger = visit(key=None, **how)
        stranger.go("/").wait_for_selector("input[type=password]")
        found += [f"login {theme}: {line}" for line in stranger.axe()]
        visitor = visit(**how)
        for path in (*PAGES, f"/transcription/{job_id}"):
            page = visitor.go(path)
            page.wait_for_selector("h1")
            page.wait_for_selector("main .animate-pulse", state="detached")
            assert page.evaluate("document.documentElement.lang") == language
            found += [f"{path} {theme}: {line}" for line in visitor.axe()]
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], f"{path} is wider than the screen"
            name = path.split("/job_")[0].strip("/").replace("/", "-") + ("-one" if "/job_" in path else "")
            visitor.picture(f"{name}-{language}-{theme}")
    assert not found, "\n".join(found)


SHOWN = "section[aria-labelledby=jobs-title] select"
AWAY = {"mg": "Tsy mamaly i Milo", "fr": "Milo ne répond pas", "en": "Milo does not answer"}


def test_a_server_that_is_restarted_is_waited_for(
    visit: Callable[..., Visit], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(servers, "free_port", lambda: port)
    pages = []
    with servers.api_in_thread(site.settings) as url:
        for language in AWAY:
            page = visit(locale=language, base=url).go("/transcription")
            page.wait_for_selector("h2#jobs-title")
            pages.append(page)
    for page, sentence in zip(pages, AWAY.values(), strict=True):
        page.select_option(SHOWN, "failed")
        page.wait_for_selector(f"[role=alert]:has-text('{sentence}')")
    job_id = site.transcribed("meanwhile.wav", transcript("Salama"))
    with servers.api_in_thread(site.settings):
        for page, sentence in zip(pages, AWAY.values(), strict=True):
            page.wait_for_selector(f"[role=alert]:has-text('{sentence}')", state="detached")
            page.select_option(SHOWN, "")
            page.wait_for_selector(f"a[href='/transcription/{job_id}']")
