"""Uploads that resume: what arrived stays, nothing is taken twice, what is complete is a blob."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from pathlib import Path

import httpx
import pytest

from milo.settings import Settings
from milo.storage import uploads
from milo.storage.files import Files
from milo.storage.uploads import LIFE_S, Uploads
from tests.api.conftest import KEY, People, problem
from tests.support.servers import wait_until

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = TUS | {"Content-Type": "application/offset+octet-stream"}
CONTENT = bytes(range(256)) * 40


def begin(client: httpx.Client, size: int = len(CONTENT), **headers: str) -> str:
    answer = client.post("/uploads", headers=TUS | {"Upload-Length": str(size)} | headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0" and answer.headers["upload-expires"].endswith("GMT")
    return answer.headers["location"].removeprefix("/api/v1")


def send(client: httpx.Client, where: str, offset: int, piece: bytes, **headers: str) -> httpx.Response:
    return client.patch(where, content=piece, headers=PIECE | {"Upload-Offset": str(offset)} | headers)


def at(client: httpx.Client, where: str) -> int:
    answer = client.head(where, headers=TUS)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def test_pieces_become_a_blob_that_is_used_as_any_other(client: httpx.Client) -> None:
    name = base64.b64encode("feo é.wav".encode()).decode()
    where = begin(client, **{"Upload-Metadata": f"filename {name},private"})
    assert send(client, where, 0, CONTENT[:1000]).headers["upload-offset"] == "1000"
    assert "milo-blob" not in client.head(where).headers
    last = send(client, where, 1000, CONTENT[1000:])
    assert last.status_code == 204 and last.headers["milo-blob"] == hashlib.sha256(CONTENT).hexdigest()
    told = client.get(where)
    assert told.json()["blob"] == last.headers["milo-blob"] and told.headers["upload-metadata"].startswith("filename")
    assert client.get(f"/blobs/{last.headers['milo-blob']}").json()["size_bytes"] == len(CONTENT)
    problem(send(client, where, len(CONTENT), b""), 409, "wrong_offset")
    assert client.delete(where, headers=TUS).status_code == 204
    assert client.get(f"/blobs/{last.headers['milo-blob']}").status_code == 200, "the blob stays"


def test_the_first_piece_may_come_with_the_creation(client: httpx.Client) -> None:
    answer = client.post("/uploads", content=CONTENT, headers=PIECE | {"Upload-Length": str(len(CONTENT))})
    assert answer.status_code == 201 and answer.headers["milo-blob"] == hashlib.sha256(CONTENT).hexdigest()
    empty = client.post("/uploads", headers=TUS | {"Upload-Length": "0"})
    assert empty.headers["milo-blob"] == hashlib.sha256(b"").hexdigest()


def test_what_arrived_before_the_line_broke_stays(client: httpx.Client, url: str) -> None:
    where = begin(client)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        sent = PIECE | {"Host": f"{host}:{port}", "Authorization": f"Bearer {KEY}", "Upload-Offset": "0"}
        head = f"PATCH /api/v1{where} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        line.sendall(f"{head}Content-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:3000])
        wait_until(lambda: at(client, where) == 3000, "nothing has arrived")
        problem(send(client, where, 3000, b"x"), 423, "upload_in_use")
    assert at(client, where) == 3000
    wait_until(lambda: send(client, where, 3000, CONTENT[3000:]).status_code == 204, "it stays locked")
    assert client.head(where).headers["milo-blob"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_piece_at_the_wrong_place_too_much_of_it_or_a_damaged_one_changes_nothing(client: httpx.Client) -> None:
    where = begin(client)
    right = base64.b64encode(hashlib.sha256(CONTENT[:10]).digest()).decode()
    assert send(client, where, 0, CONTENT[:10], **{"Upload-Checksum": f"sha256 {right}"}).status_code == 204
    problem(send(client, where, 0, CONTENT[:10]), 409, "wrong_offset")
    damaged = send(client, where, 10, CONTENT[:10] + b"x", **{"Upload-Checksum": f"sha256 {right}"})
    assert damaged.status_code == 460 and damaged.json()["code"] == "checksum_mismatch"
    problem(send(client, where, 10, CONTENT + b"more"), 413)
    assert at(client, where) == 10


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 412),
        ({"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, 412),
        (TUS, 400),
        (TUS | {"Upload-Length": "-5"}, 400),
        (TUS | {"Upload-Length": "1" * 14}, 413),
        (TUS | {"Upload-Defer-Length": "1"}, 400),
        (TUS | {"Upload-Length": "5", "Upload-Metadata": "name not_base64!"}, 400),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    problem(client.post("/uploads", headers=headers), status)


def test_nobody_else_sees_it(client: httpx.Client, people: People) -> None:
    where = begin(client)
    with people.client("somebody") as other:
        for answer in (other.get(where), send(other, where, 0, b"x"), other.delete(where, headers=TUS)):
            problem(answer, 404, "unknown_upload")
    problem(client.get("/uploads/..%2f..%2fsecrets"), 404)
    problem(client.patch(where, headers=TUS | {"Upload-Offset": "0"}), 415)
    assert "checksum" in client.options("/uploads", headers=TUS).headers["tus-extension"]


def test_the_blob_is_theirs_who_sent_it(people: People) -> None:
    with people.client("ana") as ana, people.client("ben") as ben:
        where = begin(ana)
        blob = send(ana, where, 0, CONTENT).headers["milo-blob"]
        whole = ana.post("/uploads", content=CONTENT[:99], headers=PIECE | {"Upload-Length": "99"})
        for name in (blob, whole.headers["milo-blob"]):
            assert ana.get(f"/blobs/{name}").status_code == 200
            job = ana.post("/stt", json={"blob": name}, headers={"Prefer": "respond-async"})
            assert job.status_code == 202
            problem(ben.get(f"/blobs/{name}"), 404, "unknown_blob")
            problem(ben.post("/stt", json={"blob": name}), 422, "unknown_blob")
            problem(ben.get(f"/jobs/{job.json()['id']}/audio"), 404, "unknown_job")


def test_what_nobody_continues_expires_and_a_key_has_only_so_many(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Uploads(settings, Files(settings))
    old, young = kept.create("ana", 5, ""), kept.create("ana", 5, "")
    long_ago = time.time() - LIFE_S - 10
    os.utime(Path(settings.home) / "uploads" / old.id / "content", (long_ago, long_ago))
    monkeypatch.setattr(uploads, "MAX_OPEN", 2)
    third = kept.create("ana", 5, "")
    assert sorted(upload.id for upload in kept._all()) == sorted((young.id, third.id))
    with pytest.raises(Exception, match="2 is the most"):
        kept.create("ana", 5, "")
    assert kept.create("bob", 5, "").offset == 0
