"""What is sent from the browser: files that go on after a break, recordings that outlive their tab, and no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import av
import httpx
import pytest

from milo.jobs import AudioSource
from milo.stack.ports import free_port
from milo.storage.files import Files
from tests.api.conftest import KEY, transcript
from tests.support import servers
from tests.support.servers import wait_until
from tests.web.conftest import Site, Visit

pytestmark = pytest.mark.timeout(150)
LOST_S, RECORDED_S = 3, 5
PIECE = 4 * 1024 * 1024
BREAKS = """
window.offsets = []
const { send, setRequestHeader } = XMLHttpRequest.prototype
XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
  if (name === 'Upload-Offset') offsets.push(value)
  setRequestHeader.call(this, name, value)
}
XMLHttpRequest.prototype.send = function (body) {
  if (body && offsets.length === 2) this.onerror()
  else send.call(this, body)
}
"""
"""The network is lost before the second piece."""


def sent(site: Site, name: str) -> list[dict[str, Any]]:
    """The jobs whose recording has a name that begins so."""
    headers = {"Authorization": f"Bearer {KEY}"}
    jobs = httpx.get(f"{site.url}/api/v1/jobs?kind=stt&limit=100", headers=headers, trust_env=False).json()["items"]
    return [job for job in jobs if job["payload"]["source"]["name"].startswith(name)]


def test_an_upload_that_breaks_goes_on_from_where_it_was(visit: Callable[..., Visit], site: Site) -> None:
    content = os.urandom(2 * PIECE + 1000)
    visitor = visit()
    visitor.context.add_init_script(BREAKS)
    page = visitor.go("/transcription")
    page.set_input_files("[data-testid=files]", {"name": "big.wav", "mimeType": "audio/wav", "buffer": content})
    page.wait_for_selector("text=Milo does not answer")
    wait_until(lambda: len(sent(site, "big.wav")) == 1, "it did not go on", 60)
    assert page.evaluate("offsets") == ["0", str(PIECE), str(PIECE), str(2 * PIECE)]
    assert sent(site, "big.wav")[0]["payload"]["source"]["blob"] == hashlib.sha256(content).hexdigest()


def test_a_recording_outlives_its_tab_and_is_sent_once(visit: Callable[..., Visit], site: Site) -> None:
    visitor = visit()
    page = visitor.go("/transcription")
    page.click("button[aria-label='Record']")
    page.wait_for_selector(f"text=0:0{RECORDED_S}")
    page.close()  # the page is not told, as when the tab is killed

    again = visitor.page = visitor.context.new_page()
    again.goto("/transcription")
    again.wait_for_selector("text=1 recording on this device has not been sent yet.")
    visitor.context.set_offline(True)
    again.click("button:has-text('Send')")
    again.wait_for_selector("text=You are offline.")
    visitor.context.set_offline(False)
    wait_until(lambda: len(sent(site, "Recording")) == 1, "it was not sent")
    again.wait_for_selector("text=has not been sent yet", state="detached")
    again.reload()
    again.wait_for_selector("h2:has-text('Transcripts')")
    assert again.locator("text=has not been sent yet").count() == 0
    jobs = sent(site, "Recording")
    assert len(jobs) == 1, "it was sent twice"
    source = AudioSource.model_validate(jobs[0]["payload"]["source"])
    with Files(site.settings).open_audio(source) as file, av.open(file) as container:
        heard_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert heard_s > RECORDED_S - LOST_S


def test_without_a_server_the_page_opens_and_what_was_opened_can_be_read(
    visit: Callable[..., Visit], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = site.transcribed("lavitra.wav", transcript("Salama any lavitra any"))
    port = free_port()
    monkeypatch.setattr(servers, "free_port", lambda: port)
    with servers.api_in_thread(site.settings) as url:
        visitor = visit(base=url)
        page = visitor.go(f"/transcription/{job_id}")
        page.wait_for_selector("text=Salama any lavitra any")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        visitor.until("navigator.serviceWorker.controller !== null")
    page.reload()
    page.wait_for_selector("text=Salama any lavitra any")
    page.wait_for_selector("[role=alert]:has-text('Milo does not answer')")
    with servers.api_in_thread(site.settings):
        page.wait_for_selector("[role=alert]:has-text('Milo does not answer')", state="detached")
