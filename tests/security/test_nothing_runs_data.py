"""Data stays data: no message, file or model that Milo reads can run code."""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from safetensors import SafetensorError

import celery_config
from milo.errors import MiloError
from milo.jobs import NewJob
from milo.ledger import Ledger
from milo.models import registry
from milo.models.gguf import read_header
from milo.queue import wakeups
from milo.queue.celery import app
from milo.settings import Settings
from tests.support.servers import ROOT, celery_worker, wait_until

ROOMS = ("milo", "api", "workers", "trainer", "benchmarks")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))] + [ROOT / "celery_config.py"]
NEVER_IMPORTED = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
NEVER_CALLED = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
NEVER_CALLED |= {
    "yaml.load_all",
    "pickle.load",
    "pickle.loads",
    "pandas.read_pickle",
    "pd.read_pickle",
    "tempfile.mktemp",
}


def name_of(node: ast.expr) -> str:
    """`a.b.c` of a call."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(source: str) -> Iterator[str]:
    """What no code here may do. Names imported from elsewhere count by their full name."""
    full: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full[alias.asname or alias.name] = alias.name
                if alias.name.split(".")[0] in NEVER_IMPORTED:
                    yield f"{node.lineno}: import {alias.name}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if (node.module or "").split(".")[0] in NEVER_IMPORTED:
                yield f"{node.lineno}: from {node.module} import …"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {what}" for what in _of_call(node, full))


def _of_call(node: ast.Call, full: dict[str, str]) -> Iterator[str]:
    given = {word.arg: word.value for word in node.keywords}
    first, _, rest = name_of(node.func).partition(".")
    name = f"{full.get(first, first)}.{rest}" if rest else full.get(first, first)
    if name in NEVER_CALLED:
        yield name
    if name == "torch.load" and not _says(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name in ("numpy.load", "np.load") and "allow_pickle" in given and not _says(given["allow_pickle"], False):
        yield "np.load with allow_pickle"
    for word in ("trust_remote_code", "shell"):
        if word in given and not _says(given[word], False):
            yield f"{word}={ast.unparse(given[word])}"


def _says(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_code_here_loads_pickles_or_runs_text() -> None:
    found = {str(path.relative_to(ROOT)): list(offences(path.read_text("utf-8"))) for path in SOURCES}
    assert len(found) > 150
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "from torch import load as l\nl('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "Model.from_pretrained('x', trust_remote_code=True)",
        "from subprocess import run\nrun('x', shell=True)",
        "eval('1')",
        "import yaml\nyaml.load('x')",
        "from os import system\nsystem('x')",
    ],
)
def test_the_look_for_them_finds_them(source: str) -> None:
    assert list(offences(source))


def test_what_is_safe_passes() -> None:
    assert not list(
        offences("import torch\ntorch.load('x', weights_only=True)\nmodel.eval()\nimport yaml\nyaml.safe_load('')")
    )


# --- the wire -------------------------------------------------------------------------------------------------------


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o700)


def test_messages_are_json_and_nothing_else() -> None:
    assert celery_config.accept_content == ["json"] == app.conf.accept_content
    assert app.conf.task_serializer == app.conf.result_serializer == app.conf.event_serializer == "json"


def push(settings: Settings, queue_name: str, body: bytes, content_type: str) -> None:
    """A message as kombu lays it into Redis, with a body of any type."""
    properties = {
        "correlation_id": str(uuid.uuid4()),
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue_name},
        "delivery_tag": str(uuid.uuid4()),
        "body_encoding": "base64",
    }
    headers = {"task": "milo.ping", "id": str(uuid.uuid4()), "lang": "py", "argsrepr": "", "kwargsrepr": ""}
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "binary",
        "content-type": content_type,
        "headers": headers,
        "properties": properties,
    }
    with Connection(settings.redis_url) as connection:
        connection.default_channel.client.lpush(queue_name, json.dumps(message))


def test_a_worker_refuses_a_pickle_and_goes_on(settings: Settings, tmp_path: Path) -> None:
    ledger, made = Ledger.open(settings), tmp_path / "made-by-a-pickle"
    body = pickle.dumps(((Evil(made),), {}, {}))
    job = ledger.create(NewJob(kind="ping", payload={}, owner="ana", priority="interactive"))
    for content_type in ("application/x-python-serialize", "pickle", "application/x-yaml", "text/yaml"):
        push(settings, job.queue, body, content_type)
    with celery_worker(settings, job.queue) as worker:
        wakeups.submit(job)
        wait_until(lambda: ledger.get(job.id).state == "succeeded", "the worker did not go on", 60)
        assert worker.poll() is None and not made.exists()
    ledger.engine.dispose()
    pickle.loads(body)[0]
    assert made.exists(), "the pickle was a live one"


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "model.ckpt"])
def test_a_model_of_pickled_weights_is_refused_and_not_opened(name: str, settings: Settings, tmp_path: Path) -> None:
    folder, made = tmp_path / "model", tmp_path / "made"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    (folder / name).write_bytes(pickle.dumps(Evil(made)))
    with pytest.raises(MiloError, match="pickled"):
        registry.deploy(settings, "evil", folder)
    assert not made.exists()


def test_weights_that_are_a_pickle_named_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors import safe_open

    made = tmp_path / "made"
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Evil(made)) * 10)
    with pytest.raises(SafetensorError):
        safe_open(tmp_path / "model.safetensors", "np")
    assert not made.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGUF" + b"\xff" * 60,
        b"\x80\x04K\x01." * 20,
        b"GGUF\x03\0\0\0" + b"\xff" * 8 + b"\x01" + b"\0" * 40,
    ],
)
def test_a_gguf_file_is_checked_by_its_header(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(MiloError):
        read_header(path)
