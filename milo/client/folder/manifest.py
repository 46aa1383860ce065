"""What is done in an output folder: `.milo.json` in it. By content, so that a changed recording is done again.

    {"version": 1, "files": {"<output name>": {"source", "sha256", "size_bytes", "mtime_ns", "options", "formats", …}}}

An entry without `sha256` is a name that is reserved: its outputs, if any, are of a run that was cut short. Files that
are there without an entry belong to somebody else and are never written over.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from milo.client.folder.inputs import Input, names_for, shared_stems, stem_of
from milo.cue_rules import parse_rules
from milo.errors import Unavailable
from milo.transcription.transcript import Transcript

NAME = ".milo.json"
SAVE_EVERY_S = 2.0


class Manifest:
    """The manifest of one output folder and one set of options and formats."""

    def __init__(self, out: Path, options: Mapping[str, Any], formats: Sequence[str]) -> None:
        self.out = out
        self.formats = list(formats)
        self.options = _fingerprint(options)
        self.rules = parse_rules(options.get("cues"))
        self._path = out / NAME
        self._files = self._load()
        self._by_content = {
            (entry.get("sha256"), entry.get("options")): name
            for name, entry in self._files.items()
            if "sha256" in entry
        }
        self._saved_at = 0.0
        self._lock = threading.Lock()

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            files = json.loads(self._path.read_text())["files"]
            return {str(name): dict(entry) for name, entry in files.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unavailable(
                f"{self._path} is not a list that Milo wrote: move it away (all is then done again) or choose another "
                "output folder",
                code="bad_manifest",
            ) from None

    def reserve(self, inputs: Iterable[Input]) -> dict[Input, str]:
        """A name for the output of each input: its old one, or the first that nobody has."""
        inputs = list(inputs)
        owners = {entry.get("source"): name for name, entry in self._files.items()}
        names = {one: owners[str(one.path)] for one in inputs if str(one.path) in owners}
        taken = {output for name in names.values() for output in self._outputs(name)}
        shared = shared_stems(inputs)
        for one in inputs:
            if one not in names:
                candidates = names_for(one.relative, shared=stem_of(one.relative) in shared)
                name = next(n for n in candidates if taken.isdisjoint(self._outputs(n)) and self._free(n))
                taken |= self._outputs(name)
                names[one] = name
                kept = self._files.get(name, {})  # of a recording that is gone: perhaps this very one, moved
                self._files[name] = {**kept, "source": str(one.path)}
        return names

    def _outputs(self, name: str) -> set[str]:
        """Its files, as a file system sees them that takes capitals for small letters."""
        return {str(path).casefold() for path in self.paths(name)}

    def _free(self, name: str) -> bool:
        entry = self._files.get(name)
        if entry is not None:
            return not os.path.exists(entry.get("source", ""))
        return not any(os.path.exists(path) for path in self.paths(name))

    def path(self, name: str, format: str) -> Path:
        return self.out / f"{name}.{'verbose.json' if format == 'verbose_json' else format}"

    def paths(self, name: str) -> list[Path]:
        return [self.path(name, format) for format in self.formats]

    # --- what is done ---

    def is_same_file(self, name: str, stat: os.stat_result) -> bool:
        """Whether the recording has the size and time that it had when it was done: then it need not be read."""
        entry = self._files[name]
        return (entry.get("size_bytes"), entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)

    def is_done(self, name: str, sha256: str | None = None) -> bool:
        """Whether all wanted formats are there, of these options and (when given) of this content."""
        entry = self._files[name]
        if "sha256" not in entry or entry.get("options") != self.options:
            return False
        return sha256 in (None, entry["sha256"]) and all(path.exists() for path in self.paths(name))

    def transcript(self, sha256: str) -> tuple[Transcript, dict[str, Any]] | None:
        """The transcript of the same content under the same options, if one is kept as JSON here."""
        name = self._by_content.get((sha256, self.options))
        if name is None or "json" not in self._files[name].get("formats", []):
            return None
        try:
            return Transcript.model_validate_json(self.path(name, "json").read_bytes()), self._files[name]
        except (OSError, ValidationError):
            return None

    def record(self, name: str, sha256: str, stat: os.stat_result, about: Mapping[str, Any]) -> None:
        """This output is complete."""
        old = self._files[name]
        same = old.get("sha256") == sha256 and old.get("options") == self.options
        others = set(old.get("formats", [])) - set(self.formats)
        if not same:  # a subtitle of what the recording was before would only mislead
            for format in others:
                self.path(name, format).unlink(missing_ok=True)
        formats = sorted({*self.formats, *(others if same else ())})
        self._files[name] = {
            "source": old["source"],
            "sha256": sha256,
            "size_bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "options": self.options,
            "formats": formats,
            **about,
        }
        self._by_content[sha256, self.options] = name
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        with self._lock:
            self._saved_at = time.monotonic()
            write_whole(self._path, json.dumps({"version": 1, "files": self._files}, indent=1))


def _fingerprint(options: Mapping[str, Any]) -> str:
    given = {name: value for name, value in options.items() if value is not None}
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".milo-{secrets.token_hex(6)}.tmp"
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
