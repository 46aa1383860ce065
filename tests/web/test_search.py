"""The search over all transcripts: what is found, what filters leave, and a hit that opens at its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from milo.storage.files import Files
from tests.api.conftest import transcript
from tests.web.conftest import Site, Visit
from workers.maintenance import index_transcripts

pytestmark = pytest.mark.timeout(120)


def test_a_hit_opens_its_transcript_at_its_time(visit: Callable[..., Visit], site: Site) -> None:
    texts = [f"Andro faha {number}" for number in range(80)]
    texts[70] = "Nividy vary tany an-tsena <b>izy</b> 😀 omaly"
    job_id = site.transcribed("tsena.wav", transcript(*texts))
    other = site.transcribed("hafa.wav", {**transcript("Any an-tsena koa"), "language": "fr"})
    index_transcripts(site.ledger, Files(site.settings))
    visitor = visit()
    page = visitor.go("/transcription")
    page.fill("form[role=search] input", "tséna")
    hit = page.wait_for_selector(f"a[href='/transcription/{job_id}#t=70']")
    assert page.locator("mark").all_inner_texts() == ["tsena", "tsena"] and "<b>izy</b>" in hit.inner_text()
    page.click("text=Filters")
    page.select_option("form[role=search] select >> nth=0", "fr")
    page.wait_for_selector(f"a[href='/transcription/{job_id}#t=70']", state="detached")
    page.wait_for_selector(f"a[href^='/transcription/{other}#']")
    page.fill("input[type=date] >> nth=0", "2100-01-01")
    page.wait_for_selector("text=Nothing was found")
    assert not visitor.axe()
    page.fill("input[type=date] >> nth=0", "")
    page.select_option("form[role=search] select >> nth=0", "")
    page.click(f"a[href='/transcription/{job_id}#t=70']")
    page.wait_for_selector("[data-segment='70'].bg-accent-soft")
    page.go_back()
    page.wait_for_selector("mark")
