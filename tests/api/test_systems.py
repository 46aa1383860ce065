"""From a system's report to a page: what monitors poll, what `milo systems` prints, a look by hand."""

from __future__ import annotations

import json

import httpx
from click.testing import CliRunner

from milo.cli.systems import systems as command
from milo.ledger import Ledger
from milo.monitoring.systems import BY_NAME, MONITORED
from milo.settings import Settings
from tests.api.conftest import KEY, problem
from tests.trainer.autonomy.tiny_world import Errors, judged, world_of
from trainer.autonomy import regression
from trainer.autonomy.publish import publish


def test_what_a_system_found_is_on_its_page_with_its_age_and_a_tag(
    client: httpx.Client, settings: Settings, ledger: Ledger, url: str
) -> None:
    page = f"{url}/api/regression"
    before = client.get(page).json()
    assert not before["success"] and before["error"] == "regression has not looked yet" and before["data"] is None
    errors = Errors(240, seed=1)
    pair = [judged(f"checkpoint-{n}", errors.counts(gain), 24) for n, gain in ((1, 0.0), (2, 0.3))]
    world = world_of(settings, pair, 24, 240)
    publish(ledger.engine, BY_NAME["regression"], world, regression.check(world), "job_1")
    found = client.get(f"{url}/api/unified").json()["data"]["regression"]
    assert found["success"] and found["data"]["regression_detected"] and found["data"]["checkpoint"] == "checkpoint-2"
    assert found["age_s"] < 60 and not found["stale"] and found["plugin"] == "regression"
    sources = client.get(f"{url}/api/sources")
    assert {row["system"] for row in sources.json()["data"]} >= {one.name for one in MONITORED}
    status = client.get(f"{url}/api/status")
    assert status.json()["data"]["version"] and client.get(f"{url}/api/gpu").json()["success"]
    tagged = client.get(f"{url}/api/health")
    again = client.get(f"{url}/api/health", headers={"If-None-Match": tagged.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    problem(client.get(f"{url}/api/curriculum"), 404)  # it is not built


def test_systems_are_listed_and_asked_to_look(client: httpx.Client, ledger: Ledger, url: str) -> None:
    rows = client.get("/systems").json()["items"]
    assert [row["name"] for row in rows] == [one.name for one in MONITORED]
    assert {row["state"] for row in rows} == {"waiting"} and client.get("/systems/testing").json()["history"] == []
    job = client.post("/systems/testing/runs", json={})
    assert job.status_code == 202 and ledger.get(job.json()["id"]).payload["system"] == "testing"
    assert "regression" in problem(client.get("/systems/regresion"), 404, "unknown_system")["detail"]
    told = CliRunner().invoke(command, ["list", "--json", "--url", url, "--api-key", KEY])
    assert told.exit_code == 0 and json.loads(told.output)[0]["name"] == "regression"
    table = CliRunner(env={"MILO_URL": url, "MILO_API_KEY": KEY}).invoke(command, []).output
    assert "waiting" in table and "regression has not looked yet" in table
