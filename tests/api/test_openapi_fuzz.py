"""Schemathesis over the OpenAPI document against a running server: no 5xx, and no status that is not documented."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from api.answers import accepted
from api.app import create_app
from milo.settings import Settings
from tests.api.conftest import KEY, prepare
from tests.support.servers import api_in_thread

EXAMPLES = int(os.environ.get("MILO_TEST_OPENAPI_EXAMPLES", "5"))
"""For each operation; a hundred and more for a long run."""
WAITING = {"too_slow", "model_unavailable"}
"""Codes of a 503 that is no fault here: no worker runs behind this server, and it has one model."""
DOCUMENT = create_app(Settings(home=Path("/nowhere"), api_key=KEY, _env_file=None)).openapi()
del DOCUMENT["paths"]["/api/v1/conversation"]  # a socket
del DOCUMENT["paths"]["/api/v1/events"]  # a stream without an end
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
CONFIG = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": EXAMPLES > 50}}})
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def server(
    redis_url: str, migrated: Path, whisper_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("openapi")
    bare = Settings(home=folder / "home", redis_url=redis_url, wait_s=0.05, max_wait_s=0.1, _env_file=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted, "LONGEST_S", 0.05)
        with api_in_thread(prepare(bare, migrated, whisper_folder, folder / "archive")) as base:
            yield base


def as_documented(response: Any, operation: Any) -> str | None:
    """What is wrong with an answer."""
    status = response.status_code
    if status == 503 and response.json().get("code", (response.json().get("error") or {}).get("code")) in WAITING:
        return None
    if status >= 500:
        return f"{status}: {response.text[:300]}"
    documented = {str(code) for code in operation.definition.raw["responses"]}
    if str(status) not in documented and status not in (405,):
        return f"{status} is not documented ({', '.join(sorted(documented))}): {response.text[:300]}"
    return None


def test_every_documented_operation_is_among_them() -> None:
    documented = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert set(OPERATIONS) == documented and len(documented) > 40


# not SCHEMA.parametrize: its tests share one id, and xdist runs one of them
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_an_answer_is_documented_and_no_fault_of_the_server(label: str, mode: GenerationMode, server: str) -> None:
    operation, statuses = OPERATIONS[label], []

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if isinstance(case.body, dict) and case.body.get("stream") is True:
            case.body["stream"] = False  # it would wait for a first word, and no worker is there to say one
        response = case.call(base_url=server, headers={"Authorization": f"Bearer {KEY}"}, timeout=20)
        statuses.append(response.status_code)
        assert (wrong := as_documented(response, operation)) is None, wrong

    try:
        ask()
    except Unsatisfiable:
        pytest.skip("this operation takes anything")
    # among what is wrong may be the key; links that were never made are all that a fuzzer has for the other route
    assert label == "POST /api/v1/web/keys" or set(statuses) - {401}, "it came past the door"
