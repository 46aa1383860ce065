"""A recipe: which model is trained on which data, how, and how it is judged. Checked before anything is queued.

Plain data, read from YAML or JSON; the trainers read it, the API and the CLI check it without loading any of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import from_json, to_json

from milo import yaml_text
from milo.errors import Invalid
from milo.terminal import hidden_in

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _fit_to_be_kept(cls, value: Any) -> Any:
        for leaf in _leaves(value):
            if isinstance(leaf, float) and not math.isfinite(leaf):
                raise ValueError(f"{leaf} is no number to work with")
            if isinstance(leaf, str) and (hidden := hidden_in(leaf, one_line=False)):
                raise ValueError(f"there is a control or invisible character in it ({hidden})")
        return value


class Columns(Part):
    """What the columns of the data set are called. Where one of the names below is not there, the usual ones are looked
    for (`milo.training.data.columns`)."""

    audio: str = "audio"
    text: str = "text"
    speaker: str | None = "speaker"
    """None: speakers are not known. A column that is absent is the same."""
    source: str = "source"
    target: str = "target"
    """source, target: the two sides of parallel text (task `nllb`)."""


class Splits(Part):
    train: str = "train"
    validation: str | None = "validation"
    """None: the last of the training rows by hash, `Data.validation_share` of them."""
    test: str | None = "test"
    """None: the validation split."""


class Data(Part):
    """Where examples come from."""

    source: str = Field(min_length=1)
    """A hub id (`badrex/malagasy-speech-full`), a folder, a .jsonl, .csv, .tsv or .parquet file, or `synthetic`."""
    config: str | None = None
    revision: str | None = None
    columns: Columns = Columns()
    splits: Splits = Splits()
    validation_share: float = Field(0.05, gt=0, lt=0.5)
    language: str = "mg"
    target_language: str = "fr"
    """Of the other side, for task `nllb`."""
    min_audio_s: float = Field(0.3, ge=0)
    max_audio_s: float = Field(30.0, gt=0)
    limit: int | None = Field(None, gt=0)
    """Use at most so many rows of each split; for trials."""
    segments: bool = True
    """Cut out the part of its file that a row names by `offset` and `duration`, or `start` and `end`, in seconds.
    False: these columns mean something else, and files are read whole."""
    shared_audio: bool = False
    """Take a set in which a recording is in two splits: what it then measures is what was learned by heart."""
    confined: bool = False
    """Open nothing outside MILO_AUDIO_ROOTS, wherever the source lies. What a key without the scope `admin` sends is
    always so; else files may also lie in the source's own folder."""
    synthetic: dict[str, Any] = {}
    """For `synthetic`: `seed`, `count` {split: sentences}, `voices`, `words` (a word list, or a lexicon's name)."""

    @model_validator(mode="after")
    def _lengths(self) -> Data:
        if self.min_audio_s >= self.max_audio_s:
            raise ValueError("min_audio_s must be smaller than max_audio_s")
        return self


class Lora(Part):
    """Low-rank adapters (peft); merged into the weights when a checkpoint is deployed."""

    rank: int = Field(8, ge=1, le=512)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")


class Augment(Part):
    spec_augment: bool = False
    speed: tuple[float, float] | None = None
    """Range of the factor by which speech is made faster, such as [0.9, 1.1]."""
    noise_snr_db: tuple[float, float] | None = None
    """Range of the signal-to-noise ratio of added noise."""

    @field_validator("speed", "noise_snr_db")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("write the smaller bound first")
        return value

    @field_validator("speed")
    @classmethod
    def _forward(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] <= 0:
            raise ValueError("a speed is a factor above 0, such as 0.9")
        return value


class Schedule(Part):
    """How it is trained. Steps are optimizer steps."""

    max_steps: int | None = Field(None, gt=0)
    epochs: float | None = Field(None, gt=0, le=10_000)
    """One of max_steps and epochs. The batches of all epochs are counted before the first step."""
    batch_audio_s: float = Field(60.0, gt=0)
    """Seconds of audio in a micro-batch, padding included; speech tasks."""
    batch_size: int = Field(16, ge=1)
    """Most examples in a micro-batch."""
    batch_tokens: int = Field(2048, ge=16)
    """Tokens in a micro-batch; task `nllb`."""
    gradient_accumulation: int = Field(1, ge=1)
    learning_rate: float = Field(1e-5, gt=0, lt=1)
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    seed: int = Field(42, ge=0, lt=2**32)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    freeze_encoder: bool = False
    augment: Augment = Augment()
    pack: bool = False
    """Join short utterances of one speaker up to the model's window."""
    replay: float | None = Field(None, ge=0, le=0.9)
    """Share of the training rows that is old data: the training splits of the guard sets of the base model's name, and
    of `deploy.name`. None: `trainer.data.replay.SHARE`, where there are such sets. 0: none."""
    log_steps: int = Field(10, ge=1)
    eval_steps: int = Field(500, ge=1)
    save_steps: int = Field(500, ge=1)
    keep_best: int = Field(1, ge=0)
    keep_last: int = Field(2, ge=1)
    early_stop: int | None = Field(None, ge=1)
    """Stop after so many evaluations in a row without a better one."""

    @model_validator(mode="after")
    def _one_length(self) -> Schedule:
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of max_steps and epochs")
        return self


class Evaluation(Part):
    """How checkpoints are judged."""

    split: Literal["validation", "test"] = "test"
    max_items: int | None = Field(None, gt=0)
    beam_size: int = Field(1, ge=1, le=10)
    loss: bool = False
    """Also the cross-entropy of each reference, by transformers: about as long again."""


class Deploy(Part):
    """Where the best checkpoint goes when it is not worse than what serves."""

    name: str
    """Name in the registry."""
    half: bool = False
    """Store the weights in float16. False: as the checkpoint has them."""
    margin: float | None = Field(None, ge=0, lt=1)
    """How much worse than what serves it may be at most, on its own data and on each guard set: a difference of error
    rates (of chrF, in hundredths). None: MILO_DEPLOY_MARGIN."""


WHISPER_ONLY = ("lora", "freeze_encoder", "augment", "pack", "gradient_checkpointing")
"""Fields of `Schedule` that the other trainers have no use for."""


@dataclass(frozen=True)
class TaskRules:
    """What holds for the recipes of one task."""

    model_type: str
    """Of the base model's config.json."""
    examples: Literal["recordings", "pairs"] = "recordings"
    """What the data consist of: recordings with texts, or sentence pairs."""
    unused: tuple[str, ...] = ()
    """Fields of `Schedule` that do nothing."""
    no_error_rate: str = ""
    """Why checkpoints can't be evaluated; empty: they can."""


TASKS: dict[str, TaskRules] = {
    "whisper": TaskRules("whisper"),
    "vits": TaskRules("vits", unused=(*WHISPER_ONLY, "replay"), no_error_rate="speech synthesis has no error rate"),
    "nllb": TaskRules("m2m_100", examples="pairs", unused=WHISPER_ONLY),
}
"""The tasks of recipes; who does the work stands in `trainer.tasks`. How to add one: `docs/adding-a-training.md`."""


def _known(task: str) -> str:
    if task not in TASKS:
        *names, last = map(repr, TASKS)
        raise ValueError(f"Input should be {', '.join(names)} or {last}")
    return task


def _task_schema() -> dict[str, Any]:
    return {"type": "string", "enum": list(TASKS)}


Task = Annotated[str, AfterValidator(_known), WithJsonSchema(_task_schema())]


class Recipe(Part):
    name: Annotated[str, Field(max_length=64)]
    task: Task
    model: str
    """Base model: a name of the registry, a hub id, or a folder."""
    data: Data
    training: Schedule
    evaluation: Evaluation = Evaluation()
    deploy: Deploy | None = None
    resume: str | None = None
    """A checkpoint folder (`…/checkpoint-7000`) that stock Seq2SeqTrainer or an earlier run wrote. Within its own run
    a training always goes on from its last good checkpoint."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("letters, digits, `.`, `_` and `-`, at most 64 of them, the first a letter or a digit")
        return value

    @model_validator(mode="after")
    def _of_use(self) -> Recipe:
        for name in TASKS[self.task].unused:
            if getattr(self.training, name) != Schedule.model_fields[name].default:
                raise ValueError(f"training.{name} does nothing for task {self.task}; remove it")
        return self


def check(document: object) -> Recipe:
    """The recipe in `document`. Raises `Invalid` that names each field that is wrong, and what it should be."""
    if not isinstance(document, dict):
        raise Invalid("a recipe is a mapping with the fields name, task, model, data and training", code="bad_recipe")
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'recipe'}: {_plain(one)}" for one in error.errors()]
        pointers = ["#/" + "/".join(map(str, one["loc"])) for one in error.errors()]
        errors = [{"detail": text, "pointer": to} for text, to in zip(problems, pointers, strict=True)]
        raise Invalid(f"the recipe can't be used: {'; '.join(problems)}", code="bad_recipe", errors=errors) from None


def _leaves(value: object) -> Iterator[object]:
    """Every key and value in what JSON can say."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _plain(one: Any) -> str:
    message = str(one["msg"]).removeprefix("Value error, ")
    if one["type"] == "extra_forbidden":
        return "there is no such field"
    given = one.get("input")
    return f"{message}, not {given!r}" if isinstance(given, (str, int, float, bool)) else message


def read(path: Path) -> Recipe:
    """The recipe in a YAML (or JSON) file. Raises `Invalid`."""
    try:
        text = path.read_text(encoding="utf-8")
        return check(from_json(text) if path.suffix.lower() == ".json" else from_yaml(text))
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}", code="bad_recipe") from None
    except ValueError as error:
        raise Invalid(f"{path} is not YAML: {' '.join(str(error).split())}", code="bad_recipe") from None


def from_yaml(text: str | bytes) -> object:
    """What a YAML text says, as JSON would say it. Raises `ValueError`."""
    return from_json(to_json(yaml_text.load(text), inf_nan_mode="constants"))
