"""A whole Milo for tests: the real stack on free ports in a home of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from milo.models.registry import embedded_path
from milo.settings import Settings
from milo.stack.temporary import own_stack

KEY = "a-key-for-tests"


@dataclass(frozen=True)
class Live:
    """A stack that runs."""

    url: str
    settings: Settings

    @property
    def env(self) -> dict[str, str]:
        """The environment in which `milo …` finds this stack."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
        home, model = str(self.settings.home), self.settings.stt_model
        return {**kept, "MILO_URL": self.url, "MILO_API_KEY": KEY, "MILO_HOME": home, "MILO_STT_MODEL": model}


def live_settings(folder: Path) -> Settings:
    """Settings with a home in `folder` and the smallest model there is."""
    if embedded_path("milo-tiny-mg"):
        model = "milo-tiny-mg"
    else:
        from tests.milo.engines.whisper.whisper_models import make_checkpoint

        model = str(make_checkpoint(folder / "model", milo={"min_window_s": 2.0, "max_window_s": 30.0}, scale=4.0))
    return Settings(home=folder / "home", api_key=KEY, stt_model=model, cpu_concurrency=1, _env_file=None)


@contextmanager
def live_stack(
    folder: Path, roots: Sequence[Path] = (), without: Sequence[str] = ("flower", "status")
) -> Iterator[Live]:
    settings = live_settings(folder)
    with own_stack(settings, roots, without) as url:
        yield Live(url, settings)


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started for this home, by its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MILO_HOME") == str(home) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found
