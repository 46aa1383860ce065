"""Rows through the `datasets` library: a hub repository, a folder of Parquet files, one Parquet file.

The hub's files are fetched by huggingface_hub at one commit, from MILO_HF_ENDPOINT, and read where they lie; audio
stays encoded (`Audio(decode=False)`) until an example is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from milo.errors import Invalid, ModelUnavailable
from milo.models.files import near
from milo.recipes import Data
from milo.settings import Settings
from milo.training.datasets import need_columns, text_of, wanted_columns, wrong
from trainer.data.rows import LANGUAGE_COLUMNS, Row, Splits, digest, file_state, unreadable


def fetch(settings: Settings, data: Data) -> Path:
    """The folder of a hub data set at one commit; what is there is not fetched again. Raises `ModelUnavailable`."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx

    name, place = data.source, settings.home / "datasets" / "hub"
    options: dict[str, Any] = {"repo_type": "dataset", "cache_dir": place, "token": settings.hf_token or False}
    options |= {"revision": data.revision, "endpoint": settings.hf_endpoint.rstrip("/")}
    try:
        if settings.offline:
            return Path(snapshot_download(name, local_files_only=True, **options))
        api = HfApi(endpoint=options["endpoint"], token=options["token"])
        info = api.dataset_info(name, revision=data.revision)
        files = [one.rfilename for one in info.siblings or []]
        options["allow_patterns"] = _of_config(files, data.config)
        return Path(snapshot_download(name, **options))
    except GatedRepoError:
        raise ModelUnavailable(
            f"the data set {name} is gated: accept its terms on its page, and set MILO_HF_TOKEN to that account's token"
        ) from None
    except RepositoryNotFoundError:
        raise wrong(
            "source", f"the hub has no data set {name}; check the spelling, or set MILO_HF_TOKEN if it is private"
        ) from None
    except RevisionNotFoundError:
        raise wrong("revision", f"{name} has no branch, tag or commit {data.revision!r}") from None
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(f"the data set {name} is not on this machine, and MILO_OFFLINE is set") from error
    except (httpx.HTTPError, OSError) as error:
        raise ModelUnavailable(f"the data set {name} can't be fetched from {options['endpoint']}: {error}") from None


def _of_config(files: list[str], config: str | None) -> list[str] | None:
    """Only the files below folders named like the configuration, where there are such; None: all."""
    if config is None:
        return None
    own = [file for file in files if config in file.split("/")[:-1]]
    return [*own, "README.md", "*.json", "*.yaml"] if own else None


def from_folder(settings: Settings, folder: Path, data: Data) -> Splits:
    from datasets import load_dataset

    def make() -> Any:
        return load_dataset(str(folder), name=data.config, cache_dir=str(settings.home / "datasets" / "arrow"))

    found = _loaded(data, make)
    return {str(name): _rows(part, data, folder) for name, part in found.items()}


def from_parquet(settings: Settings, path: Path, data: Data) -> Splits:
    from datasets import Dataset

    def make() -> Any:
        return Dataset.from_parquet(str(path), cache_dir=str(settings.home / "datasets" / "arrow"))

    rows = _rows(_loaded(data, make), data, path.parent, state=file_state(path))
    return rows if isinstance(rows, dict) else {"": rows}


def _loaded(data: Data, make: Callable[[], Any]) -> Any:
    import datasets

    datasets.disable_progress_bars()
    try:
        return make()
    except ValueError as error:
        if data.config is None or "BuilderConfig" not in str(error):
            if "Config name is missing" in str(error):
                raise wrong("config", f"{data.source} has several configurations; {_sentence(error)}") from None
            raise unreadable(data.source, error) from None
        raise wrong("config", f"{data.source} has no configuration {data.config!r}: {_sentence(error)}") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever its readers raise: BadZipFile, ArrowInvalid, ImportError …
        raise unreadable(data.source, error.__cause__ or error) from None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _rows(table: Any, data: Data, base: Path, state: str = "") -> list[Row]:
    from datasets import Audio, features

    columns, fingerprint = data.columns, table._fingerprint
    need_columns(table.column_names, wanted_columns(data), data.source)
    feature = table.features[columns.audio]
    if isinstance(feature, features.Audio):
        table = table.cast_column(columns.audio, Audio(decode=False))
    sounds = table.select_columns([columns.audio])  # a second column of audio would be decoded with it
    state = state or fingerprint
    names = [columns.text]
    names += [columns.speaker] if columns.speaker and columns.speaker in table.column_names else []
    language = next((name for name in LANGUAGE_COLUMNS if name in table.column_names), None)
    names += [language] if language else []
    names += ["id"] if "id" in table.column_names else []
    plain = table.select_columns(list(dict.fromkeys(names))).to_dict()

    def of(name: str | None, number: int) -> str | None:
        return text_of(plain[name][number]) or None if name in plain else None

    return [
        Row(
            of("id", number) or f"row {number + 1}",
            of(columns.text, number) or "",
            of(columns.speaker, number),
            of(language, number),
            lambda number=number: _audio(sounds[number][columns.audio], base),
            digest(state, columns.audio, number),
        )
        for number in range(len(table))
    ]


def _audio(value: Any, base: Path) -> Path | bytes:
    """The encoded file of one cell: `{bytes, path}`, bytes, or a path relative to the table."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str) and value:
        return base / value
    raise Invalid("the cell holds neither a file nor a path", code="not_audio")


def no_split(name: str, have: list[str], field: str, source: str) -> Invalid:
    return wrong(f"splits.{field}", f"{source} has no split {name!r}; it has {', '.join(have)}.{near(name, have)}")
