"""What is said of the last deploy: what went through, what was refused and by which gate, what was taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milo.models import registry
from milo.settings import Settings
from tests.trainer.autonomy.tiny_world import deploy_job, world_of
from trainer.autonomy.deployment import check
from trainer.autonomy.world import Found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


def looked(settings: Settings, *jobs: dict[str, Any]) -> Found:
    return check(world_of(settings, [], 12, 12, deploys=jobs))


def test_a_deploy_is_told_with_its_gates_and_whether_it_still_serves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(serves: str) -> Found:
        monkeypatch.setattr(registry, "serving", lambda _settings, name: serves)
        return looked(settings, deploy_job())

    found = told("v2")
    assert found.checkpoint == "checkpoint-2" and found.reason == "ours v2 serves"
    assert found.fields["success"] and found.fields["score"] == 0.8 and found.fields["deployed_at"].startswith("1970")
    assert [(one["gate"], one["verdict"], one["upper"]) for one in found.fields["gates"]] == [
        ("its own data", "better", -0.05),
        ("guard set old", "not worse", 0.01),
        ("smoke decode", "passed", None),
    ]
    back = told("v1")
    assert back.fields["rolled_back"] and back.reason == "ours v2 was deployed and taken back; v1 serves"
    later = told("v3")
    assert not later.fields["rolled_back"] and later.reason == "ours v2 was deployed; v3 serves now"


def test_what_is_refused_is_no_deployment(settings: Settings) -> None:
    error = {"code": "deploy_refused", "detail": "it is worse than what ours serves"}
    refused = looked(settings, deploy_job(), deploy_job(state="failed", result=None, error=error))
    assert not refused.fields["success"] and refused.fields["deployed_at"] is None
    assert refused.fields["attempted_at"] and "it is worse" in refused.reason
    guard = {"sets": [{"name": "old", "verdict": "worse", "difference": 0.2, "interval": {"high": 0.3}}]}
    deploy = {"deployed": False, "name": "ours", "reason": "it may have forgotten", "guard": guard}
    pipeline = deploy_job(kind="pipeline", payload={"recipe": {}}, result={"deploy": deploy})
    told = looked(settings, pipeline)
    assert told.reason == "not deployed as ours: it may have forgotten"
    assert [one["verdict"] for one in told.fields["gates"]] == ["worse"]


def test_pipelines_that_were_not_to_deploy_and_cancelled_jobs_do_not_count(settings: Settings) -> None:
    nowhere = {"deploy": {"deployed": False, "reason": "the recipe names no place to deploy to"}}
    others = [deploy_job(kind="pipeline", payload={}, result=nowhere), deploy_job(state="cancelled", result=None)]
    others.append(deploy_job(kind="pipeline", state="failed", payload={}, result=None, error={"detail": "x"}))
    assert looked(settings, *others).state == "insufficient_data"
