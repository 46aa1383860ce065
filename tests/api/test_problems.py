"""Whatever is wrong with a request, the answer is a problem document that says what."""

from __future__ import annotations

import json
import string

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.api.conftest import problem, raw

DEEP = 100_000


@pytest.fixture
def url(shared_url: str) -> str:
    return shared_url


def test_an_unknown_path_is_named(client: httpx.Client) -> None:
    assert "/api/v1/nothing" in problem(client.get("/nothing"), 404, "unknown_path")["detail"]


def test_the_length_of_a_text_is_told_in_characters(client: httpx.Client) -> None:
    body = {"kind": "stt", "payload": {"source": {"path": "a"}, "prompt": "a" * 2001}}
    told = problem(client.post("/jobs", json=body), 422)["errors"][0]["detail"]
    assert told == "String should have at most 2000 characters, not 2001"


def test_a_wrong_method_says_which_are_right(client: httpx.Client) -> None:
    answer = client.put("/jobs")
    assert "PUT" in problem(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "job_id", ["job_1", "job_" + "0" * 24, "x" * 3000, "%00", "..%2f..", "job_%F0%9F%92%A9", "'; --"]
)
def test_an_unknown_job_is_a_404(client: httpx.Client, job_id: str) -> None:
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.delete(f"/jobs/{job_id}").status_code in (404, 405)
    problem(client.get(f"/jobs/{job_id}/result"), 404)


@pytest.mark.parametrize("path", ["/stt", "/jobs", "/batches", "/keys"])
@pytest.mark.parametrize("body", [b"", b"{", b"nothing", b'{"a": }', b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 1000])
def test_what_is_not_json_is_a_400(client: httpx.Client, path: str, body: bytes) -> None:
    problem(client.post(path, content=body, headers={"Content-Type": "application/json"}), 400, "bad_request")


@pytest.mark.parametrize("path", ["/stt", "/jobs", "/batches"])
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"{}", b'{"surprise": 1}'])
def test_json_of_another_shape_is_a_422_that_points(client: httpx.Client, path: str, body: bytes) -> None:
    answer = problem(client.post(path, content=body, headers={"Content-Type": "application/json"}), 422)
    assert answer.get("errors") or answer["code"] == "empty_batch"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
@pytest.mark.parametrize("path", ["/stt", "/jobs", "/batches"])
def test_another_content_type_is_a_415(client: httpx.Client, path: str, kind: str) -> None:
    problem(client.post(path, content=b"{}", headers={"Content-Type": kind}), 415, "unsupported_media_type")


def test_a_compressed_body_is_a_415(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(client.post("/jobs", content=b"\x1f\x8b", headers=headers), 415)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":['])
def test_bottomless_json_is_refused_and_does_no_harm(client: httpx.Client, opening: str) -> None:
    body = (opening * DEEP).encode()
    for path in ("/jobs", "/stt", "/batches"):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 413, 422)
        problem(answer, answer.status_code)


def test_a_body_of_a_million_values_is_refused_before_it_is_parsed(client: httpx.Client) -> None:
    body = b"[" + b"[]," * 1_000_000 + b"[]]"
    answer = client.post("/batches", content=body, headers={"Content-Type": "application/json"})
    assert "values" in problem(answer, 413)["detail"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/jobs", {"kind": "ping", "payload": {"seconds": "long"}}, "#/payload/seconds"),
        ("/jobs", {"kind": "ping", "payload": {"seconds": -1}}, "#/payload/seconds"),
        ("/jobs", {"kind": "ping", "payload": {"second": 1}}, "#/payload/second"),
        ("/jobs", {"kind": "ping", "payload": []}, "#/payload"),
        ("/jobs", {"kind": "ping", "priority": "urgent"}, "#/priority"),
        ("/jobs", {"kind": "dance"}, "#/kind"),
        ("/jobs", {"kind": "stt", "payload": {}}, "#/payload/source"),
        ("/jobs", {"kind": "stt", "payload": {"source": {}}}, "#/payload/source"),
        ("/jobs", {"kind": "ping", "callback_url": "ftp://example.org"}, "#/callback_url"),
        ("/jobs", {"kind": "ping", "callback_url": "http://10.0.0.1/"}, "#/callback_url"),
        ("/jobs", {"kind": "ping", "callback_url": "http://user:pass@example.org/"}, "#/callback_url"),
        ("/stt", {"audio": "UklGRg==", "beam_size": "many"}, "#/beam_size"),
        ("/stt", {"audio": "UklGRg==", "beam_size": 0}, "#/beam_size"),
        ("/stt", {"audio": "UklGRg==", "temperature": 2}, "#/temperature"),
        ("/stt", {"audio": "UklGRg==", "task": "sing"}, "#/task"),
        ("/stt", {"audio": "UklGRg==", "word_timestamps": "perhaps"}, "#/word_timestamps"),
        ("/stt", {"audio": "UklGRg==", "language": 5}, "#/language"),
        ("/stt", {"audio": "UklGRg==", "language": "tlh"}, "#/language"),
        ("/stt", {"audio": "UklGRg==", "model": "no-such-model"}, "#/model"),
        ("/stt", {"audio": "UklGRg==", "model": "/etc"}, "#/model"),
        ("/stt", {"audio": "UklGRg==", "prompt": "x" * 2001}, "#/prompt"),
        ("/stt", {"audio": "UklGRg==", "prompt": "a\u0000b"}, "#/prompt"),
        ("/stt", {"audio": 5}, "#/audio"),
        ("/stt", {"blob": "abc"}, "#/blob"),
        ("/stt", {"audio": "UklGRg==", "name": "a\u0000.wav"}, "#/name"),
        ("/stt", {"audio": "UklGRg==", "colour": "red"}, "#/colour"),
        ("/batches", {"items": [{"blob": "0" * 64}, {"blob": "x"}]}, "#/items/1/blob"),
        ("/batches", {"items": [{}]}, "#/items/0"),
        ("/batches", {"items": 5}, "#/items"),
        ("/batches", {"paths": [5]}, "#/paths/0"),
        ("/batches", {"options": {"beam_size": 99}}, "#/options/beam_size"),
        ("/batches", {"items": [], "kind": "dance"}, "#/kind"),
    ],
)
def test_a_wrong_value_is_pointed_at(client: httpx.Client, path: str, body: object, pointer: str) -> None:
    errors = problem(client.post(path, json=body), 422)["errors"]
    assert pointer in [error["pointer"] for error in errors]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=1e3", "state=asleep", "limit=" + "9" * 400],
)
def test_a_wrong_query_parameter_is_named(client: httpx.Client, query: str) -> None:
    errors = problem(client.get(f"/jobs?{query}"), 422)["errors"]
    assert errors[0]["parameter"] == query.split("=")[0]


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
def test_a_wrong_wait_is_named(client: httpx.Client, wait: str) -> None:
    job_id = client.post("/jobs", json={"kind": "ping"}).json()["id"]
    assert problem(client.get(f"/jobs/{job_id}?wait={wait}"), 422)["errors"][0]["parameter"] == "wait"


@pytest.mark.parametrize("query", ["before=%00", "kind=%00", "batch_id=%F0%9F%92%A9", "kind=%ff", "kind=" + "x" * 9000])
def test_filters_that_match_nothing_give_an_empty_list(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/jobs?{query}")
    assert answer.status_code == 200 and answer.json()["items"] == []


@pytest.mark.parametrize("key", ["", "x" * 256, '""'])
def test_a_senseless_idempotency_key_is_refused(client: httpx.Client, key: str) -> None:
    answer = client.post("/jobs", json={"kind": "ping"}, headers={"Idempotency-Key": key})
    problem(answer, 422, "bad_idempotency_key")


def test_an_unexpected_fault_shows_no_trace(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr("milo.ledger.Ledger.jobs", broken)
    document = problem(client.get("/jobs"), 500, "internal_error")
    assert "secret detail" not in json.dumps(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_letters, max_size=8), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["audio", "blob", "path", "name", "format", "language", "task", "prompt", "beam_size", "temperature", "model"]
    + ["callback_url", "priority", "kind", "payload", "items", "paths", "options", "word_timestamps"]
)


@profile(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/stt", "/jobs", "/batches"]), body=st.dictionaries(FIELDS, JSON, max_size=5))
def test_no_json_whatever_is_a_fault_of_the_server(client: httpx.Client, path: str, body: object) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code < 500, (body, answer.text)
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


@profile(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        ["Prefer", "Idempotency-Key", "Last-Event-ID", "Accept", "Content-Type", "Range", "Expect-CT"]
    ),
    value=st.binary(max_size=60).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127).strip()),
)
def test_no_header_whatever_is_a_fault_of_the_server(client: httpx.Client, name: str, value: bytes) -> None:
    answer = client.post("/jobs", content=b'{"kind": "ping"}', headers=[(name.encode(), value)])
    assert answer.status_code in (202, 400, 415, 422)


@profile(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=400), boundary=st.sampled_from(["b", "--b", "b b", '"b"', "x" * 300, ""]))
def test_no_form_whatever_is_a_fault_of_the_server(client: httpx.Client, body: bytes, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    for path in ("/stt", "/blobs", "/batches"):
        for content in (body, b"--b\r\n" + body + b"\r\n--b--\r\n"):
            answer = client.post(path, content=content, headers=headers)
            problem(answer, answer.status_code)
            assert answer.status_code < 500


@pytest.mark.parametrize(
    "junk",
    [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"],
)
def test_what_is_not_http_harms_nobody(url: str, client: httpx.Client, junk: bytes) -> None:
    assert b" 400 " in raw(url, junk)
    assert client.get("/jobs").status_code == 200
