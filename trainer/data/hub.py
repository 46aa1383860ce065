"""The files of a data set of the hub, at one commit, fetched by huggingface_hub from MILO_HF_ENDPOINT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milo.errors import ModelUnavailable
from milo.recipes import Data
from milo.settings import Settings
from milo.training.data.row import wrong


def fetch(settings: Settings, data: Data) -> Path:
    """The folder of a hub data set at one commit; what is there is not fetched again. Raises `ModelUnavailable`."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx or httpx2: the one that it uses

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
