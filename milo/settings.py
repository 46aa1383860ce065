"""Every setting of Milo: its environment variable, unit and default. The only reader of the environment.

A field `x_y` is read from `MILO_X_Y`, or from a `.env` file in the working folder. Sizes are bytes, times are seconds.
Some fields are also read from the names that other programs give them (`_also`); the `MILO_` name goes before.
`milo.variables` says which variables do nothing.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from milo.addresses import check_networks
from milo.cue_rules import check_rules

DEVELOPMENT_KEY = "change-me-in-production"
"""A key that everybody knows. It counts only where MILO_API_KEY names it, and for this machine alone."""
REDIS_SECRET = "redis"
"""Name of the file under `secrets_folder` that holds the password of the embedded Redis."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('this is no list: write a,b,c or, as JSON, ["a", "b", "c"]') from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _also(name: str, *others: str) -> AliasChoices:
    """Read from `MILO_<name>`, and from the names that other programs have for the same."""
    return AliasChoices(f"MILO_{name}", *others)


def _origins(values: list[str]) -> list[str]:
    """Origins as browsers send them: no path, no slash at the end."""
    for value in values:
        if value not in ("*", "null") and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/;,'\"]+/?", value):
            example = "http://localhost:5173,https://milo.example.org"
            raise ValueError(f"{value!r} is no origin of a web page: write a list such as {example}, or * for all")
    return [value.rstrip("/") for value in values]


SHARED = ("runs", "evaluations")


def _shared(values: list[str]) -> list[str]:
    for value in values:
        if value not in SHARED:
            raise ValueError(f"{value!r} can't be shared: name {' and '.join(SHARED)}, or neither")
    return values


SYSTEMS = ("regression", "comparison", "calibration", "testing", "deployment")
"""What watches trainings (`docs/autonomy/`)."""


def _systems(values: list[str]) -> list[str]:
    if values == ["all"]:
        return list(SYSTEMS)
    if unknown := [value for value in values if value not in SYSTEMS]:
        raise ValueError(f"there is no system {', '.join(unknown)}; there are {', '.join(SYSTEMS)}, and `all`")
    return values


QUOTAS = ("sockets", "streams", "stored_bytes", "queued_audio_s", "compute_s", "requests")
"""What one key may have, each by its setting `key_<name>`, or its name in `key_quotas`."""


def _quotas(values: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    if unknown := sorted({quota for of_key in values.values() for quota in of_key} - set(QUOTAS)):
        raise ValueError(f"there is no quota {', '.join(unknown)}; there are {', '.join(QUOTAS)}")
    return values


Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
"""A list written as `a,b,c` or as a JSON list in the environment."""
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
DEFAULT_HOME = "~/.local/share/milo"
Home = Annotated[
    Path, BeforeValidator(lambda path: path or DEFAULT_HOME), AfterValidator(lambda path: path.expanduser().absolute())
]
"""A folder; empty is the default, and not wherever the command was started."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MILO_", env_file=".env", extra="ignore", populate_by_name=True)

    # --- where things are ---
    env: Literal["development", "production"] = "development"
    """`production` refuses `change-me-in-production` as the API key."""
    home: Home = Path(DEFAULT_HOME).expanduser()
    """Everything at rest: ledger, blobs, results, models, logs."""
    database_url: str | None = None
    """SQLAlchemy URL of the ledger. Default: SQLite in `home`. `postgresql+psycopg://…` for several machines."""
    redis_url: str = Field("redis://127.0.0.1:6390/0", validation_alias=_also("REDIS_URL", "REDIS_URL"))
    """Broker, events, sessions. The default is where the embedded Redis of `milo up` listens; its password
    is in `home`/secrets/redis."""
    files_url: str | None = None
    """fsspec URL of blobs and results. Default: `home`. `s3://bucket/prefix` for several machines."""

    # --- the front ---
    host: str = Field("127.0.0.1", validation_alias=_also("HOST", "API_HOST"))
    port: int = Field(8000, validation_alias=_also("PORT", "API_PORT"))
    flower_host: str = "127.0.0.1"
    """Where Flower listens. Another address than this machine's own needs `flower_password`."""
    flower_password: str = ""
    """What Flower asks for, with the user name `milo`; empty: nothing, which is right on this machine alone. Its API
    (`/api/workers`, …) answers 401 until this is set: with a password it opens for that user."""
    flower_port: int = 5556
    redis_port: int = 6390
    """Port of the Redis that `milo up` starts, when MILO_REDIS_URL is not set."""
    api_key: str = Field("", validation_alias=_also("API_KEY", "API_KEY"))
    """The operator's key (all scopes). Empty: one is made when Milo first starts, and kept in `home`/secrets/api_key
    (`milo keys show`). Name one where several machines share a ledger. More keys: `milo keys create`."""
    allowed_hosts: Words = []
    """Names by which the API, the status API and Flower may be asked, beside localhost, this machine's name and the
    address they listen on; `*.example.org`: all names below, `*`: any name. Whoever listens on all addresses (0.0.0.0)
    may be asked by any address."""
    url: str = "http://127.0.0.1:8000"
    """Where the client and the CLI find the API."""
    cors_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        [], validation_alias=_also("CORS_ORIGINS", "CORS_ORIGINS")
    )
    """Web pages of other origins that may use the API and its socket, such as `http://localhost:5173`; `*`: all."""
    metrics_allow: Annotated[Words, AfterValidator(check_networks)] = ["127.0.0.1", "::1"]
    """Addresses or CIDR blocks that may read /metrics without a key, for a Prometheus: counts, times and names of
    models, nothing of what was said. Empty: a key is always asked for. A proxy on this machine has to send
    `X-Forwarded-For`; without it whoever comes through it counts as this machine."""
    rate_limit: str = ""
    """Requests that one key may make, such as `600/minute`; empty: no limit."""
    address_rate_limit: str = ""
    """Requests that one address (an IPv6 /64) may make, with whatever key or none; empty: no limit. This machine's own
    addresses are not counted, so a proxy here has to send `X-Forwarded-For`."""
    wrong_key_limit: str = "30/minute"
    """Wrong keys that one address may show to one API process before it may try no further one; empty: no limit."""
    max_upload_bytes: Count = 2 * 1024**3
    """Largest multipart or blob upload."""
    max_body_bytes: Count = 48 * 1024**2
    """Largest JSON body (base64 audio included)."""
    max_audio_s: Positive = 6 * 3600 + 600
    """Longest recording accepted."""
    decode_memory_bytes: Count = 1024**3
    """Memory that decoding one recording may take; a file that needs more is refused."""
    decode_cpu_s: float = Field(60, ge=1)
    """CPU time that decoding half a minute of audio may take; a file that needs more is refused."""
    max_batch_items: Count = 20_000
    max_queued_jobs: Count = 200_000
    """Jobs one key may have queued; above it 429."""
    key_sockets: NotNegative = 50
    """Conversations that one key may hold open, over all API processes; 0: no limit. This and the other quotas of a key
    do not bind the operator's own."""
    key_streams: NotNegative = 100
    """Event streams (`…/events`) that one key may hold open, over all API processes; 0: no limit."""
    key_stored_bytes: NotNegative = 50 * 10**9
    """Bytes of uploads that are kept for one key; unused ones go after MILO_RETENTION_DAYS. 0: no limit."""
    key_queued_audio_s: NotNegative = 7 * 24 * 3600
    """Seconds of audio that one key may have waiting, as far as they are decoded; 0: no limit."""
    key_compute_s: NotNegative = 24 * 3600
    """Seconds of computing (`compute_s`, of trainings too) that jobs of one key may take in 24 hours; 0: no limit."""
    key_requests: NotNegative = 6000
    """Requests of one key in a minute, counted once a second over all API processes; 0: no limit. `rate_limit` counts
    each, which costs two trips to Redis a request."""
    key_quotas: Annotated[dict[str, dict[str, NotNegative]], AfterValidator(_quotas)] = {}
    """Other quotas for keys by their name, as JSON: `{"ana": {"sockets": 5, "stored_bytes": 0}}`."""
    wait_s: NotNegative = 30
    """How long a blocking request waits by default, before it becomes a 202."""
    max_wait_s: NotNegative = 300
    audio_roots: Words = []
    """Folders (or fsspec URL prefixes) whose files may be named by path in a request. Comma separated."""
    hub_names: Literal["admin", "write"] = "admin"
    """Scope that a key needs to name a model or a data set that is fetched from the hub, with
    the operator's token. What is on this machine is used by all."""
    shared: Annotated[Words, AfterValidator(_shared)] = []
    """What all keys use of each other's: `runs` (their checkpoints), `evaluations` (their reports and rows)."""
    webhook_allow: Words = []
    """Host names, addresses or CIDR blocks that callbacks may reach although they are private."""
    webhook_timeout_s: Positive = 20
    webhook_secret: str | None = None
    """Signs the webhooks of the operator's jobs: `whsec_…`. Default: made once, kept in `home`/secrets."""
    ledger_key: str = ""
    """Seals the webhook secrets in the ledger. Empty: one is made once and kept in `home`/secrets/ledger_key. Name one
    where several machines share a ledger and not a home."""
    idempotency_ttl_s: Positive = 24 * 3600

    # --- the queue ---
    share_card: bool = False
    """Let several GPU workers on this machine use one card. Without it the second one is refused."""
    lease_s: Positive = 15
    """A running job that is not renewed for this long belongs to nobody."""
    slice_s: Positive = 30
    """How long one job holds the GPU worker before it gives way to its equals."""
    floor_s: NotNegative = 60
    """Work that has waited this long because work of higher priority never ends gets a turn all the same."""
    floor_slice_s: Positive = 2
    """How long that turn is, at most."""
    max_attempts: Count = 3
    reconcile_s: Positive = 2
    """Beat: how often rows are compared with messages."""
    lost_after_s: NotNegative = 5
    """A queued row whose message is older than this and nowhere is published again."""
    hard_limit_s: Count = 900
    """Celery's hard time limit of one slice: a hung engine is killed then."""
    decode_ahead_s: Positive = 4 * 3600
    """Seconds of decoded audio that may wait for the GPU (115 MB an hour)."""
    cpu_concurrency: Count = 2
    archive_concurrency: Count = 1
    retention_days: NotNegative = 30
    """Finished jobs, their results and unused blobs are removed after this. 0 keeps all."""

    # --- models ---
    stt_model: str = Field("milo-tiny-mg", validation_alias=_also("STT_MODEL", "WHISPER_MODEL_ID"))
    """A name in the registry, a hub id (`openai/whisper-medium`), or a folder (`…/checkpoint-7000`)."""
    stt_engine: Literal["ctranslate2", "transformers"] = "ctranslate2"
    stt_processor: str | None = None
    """Model name or folder whose tokenizer files serve a checkpoint that has none of its own."""
    cues: Annotated[str, AfterValidator(check_rules)] = "broadcast"
    """How subtitles are cut where a request says nothing: `broadcast`, `social` or `plain`, and numbers of your own
    (`social,max_s=2`): line_chars, lines, min_s, max_s, chars_per_s, gap_s."""
    stt_ask_language: Literal["window", "recording"] = "window"
    """Where a request names no language: `window` asks each window for its own; `recording` asks every eighth of a long
    recording, and the others only where the eighths differ or a text is doubtful. A few percent faster, for recordings
    in one language; a minute in another one may be written in the wrong one."""
    stt_compute_type: str = "default"
    """CTranslate2 compute type; `default` is float16 on CUDA, float32 on CPU (as the transformers reference)."""
    stt_min_window_s: NotNegative = 0
    """Shortest window that a Whisper is given, in seconds; 0: as it was trained (a stock one: 30). Short recordings
    cost a fraction then; what the model is not sure of is decoded again in 30 s. Measured: `benchmarks/README.md`."""
    tts_model: str = Field("espeak", validation_alias=_also("TTS_MODEL", "MMS_TTS_MODEL_ID"))
    """`espeak` (embedded), or a VITS/MMS-TTS model: a name in the registry, a hub id, or a folder."""
    tts_voice: str = ""
    """Voice when a request names none; empty: the engine's own."""
    tts_max_chars: Count = 500
    """Longest text of one speech request, in characters."""
    number_order: Literal["modern", "traditional"] = "modern"
    """How numbers are spoken in Malagasy: largest first, or units first."""
    translate_model: str = Field("milo-tiny-nllb", validation_alias=_also("TRANSLATE_MODEL", "NLLB_MODEL_ID"))
    """A name in the registry, a hub id (`facebook/nllb-200-distilled-600M`), or a folder."""
    translate_compute_type: str = "default"
    """CTranslate2 compute type; `default` is float16 on CUDA, float32 on CPU."""
    translate_beam_size: int = Field(4, ge=1)
    """Beams of the search; 1 is quickest."""
    translate_max_chars: int = Field(5000, ge=1)
    """Longest text of one translation request."""
    translate_glossary: Path | None = None
    """TSV or YAML file of fixed expressions that are translated as it says, before any model is asked."""
    translate_cache_s: float = Field(7 * 24 * 3600, ge=0)
    """How long a translation is remembered in Redis; 0: not at all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpu_threads: int = Field(0, ge=0)
    """Threads of an engine on the CPU; 0: all cores."""
    batch_windows: Count = 16
    """Most windows in one batch of the STT engine."""
    load_s: Positive = 60
    """Seconds of computing that loading a model for the first time may take, and as many again for each GB of its
    weights; the process that tries it is ended then, and the model refused."""
    vram_budget_gb: NotNegative = 0
    """GB (10^9 bytes) that loaded models may take together; 0: nine tenths of the card (of RAM without one)."""
    model_ttl_s: NotNegative = 900
    """Unload a model that was not used for this long; 0: never."""
    load_cooldown_s: NotNegative = 30
    """After a failed load, requests for that model fail at once for this long."""
    hf_token: str | None = Field(None, validation_alias=_also("HF_TOKEN", "HF_TOKEN"))
    hf_endpoint: str = Field("https://huggingface.co", validation_alias=_also("HF_ENDPOINT", "HF_ENDPOINT"))
    """Where models are pulled from: the hub, or a mirror that speaks its protocol."""
    offline: bool = Field(False, validation_alias=_also("OFFLINE", "HF_HUB_OFFLINE"))
    """Never ask the hub, whatever is missing."""

    # --- training ---
    deploy_margin: float = Field(0.04, ge=0, lt=1)
    """How much worse than what serves a deployed model may be at most, on its own data and on each guard set: a
    difference of error rates, the upper end of its 95 % interval. A recipe may say its own (`deploy.margin`)."""

    # --- chat ---
    default_mode: Literal["local", "cloud"] = Field("local", validation_alias=_also("DEFAULT_MODE", "DEFAULT_MODE"))
    """Which chat model is asked first; the other one answers when it can't."""
    chat_via: Literal["direct", "fr"] = "direct"
    """`direct`: the model answers in the user's language. `fr`: through French, for a model that knows no Malagasy."""
    chat_model: str = Field("smollm2-135m", validation_alias=_also("CHAT_MODEL", "LOCAL_LLM_MODEL_PATH"))
    """The local model: `smollm2-135m` (in the extra `chat`), a `.gguf` file, or a name in the registry."""
    n_gpu_layers: int = Field(-1, validation_alias=_also("N_GPU_LAYERS", "LOCAL_LLM_N_GPU_LAYERS"))
    """Layers of the local model on the GPU; -1: all of them."""
    chat_context_tokens: int = Field(4096, ge=0)
    """Tokens of conversation that the local model sees, its answer included; 0: what it was trained for."""
    chat_max_chars: Count = 8000
    """Longest message accepted."""
    chat_max_tokens: int = Field(512, ge=1)
    """Longest answer."""
    session_ttl_s: float = Field(24 * 3600, gt=0, validation_alias=_also("SESSION_TTL_S", "SESSION_TTL_S"))
    """A chat session that was not used for this long is forgotten."""
    session_exchanges: int = Field(10, ge=1, validation_alias=_also("SESSION_EXCHANGES", "SESSION_MAX_HISTORY"))
    """Exchanges (a message and its reply) that a session remembers; it grows by half before the oldest go."""
    conversation_silence_s: float = Field(0.6, gt=0.1, le=5)
    """Silence that ends an utterance in a spoken conversation."""
    conversation_utterance_s: float = Field(30, ge=1, le=300)
    """Longest utterance; then it is closed, and the next one begins."""
    conversation_partials: bool = True
    """Transcribe while a person is still speaking, as long as nobody else waits."""
    conversation_idle_s: float = Field(600, gt=0)
    """A conversation in which nothing is said for this long is closed."""
    conversation_sockets: int = Field(200, ge=1)
    """Conversations that one API process holds open."""
    anthropic_api_key: str | None = Field(None, validation_alias=_also("ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"))
    """Turns Claude on. A placeholder such as `sk-ant-xxxxx` is never tried."""
    anthropic_base_url: str = Field(
        "https://api.anthropic.com", validation_alias=_also("ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL")
    )
    claude_model: str = Field("claude-haiku-5-5", validation_alias=_also("CLAUDE_MODEL", "CLAUDE_MODEL"))
    first_token_s: float = Field(2, gt=0, validation_alias=_also("FIRST_TOKEN_S", "CLAUDE_TIMEOUT_S"))
    """Claude has this long to begin; then the local model answers."""

    # --- watching ---
    status_host: str = "127.0.0.1"
    """Where the status API listens: `GET /status /gpu /training /eval` for monitors."""
    status_port: int = 5555
    status_open: Literal["auto", "yes", "no"] = "auto"
    """Whether the status API answers without a key. `auto`: only while `status_host` is this machine alone."""
    watch_s: float = Field(10, ge=1)
    """Beat: how often the watchdog looks and the status file is written."""
    evaluate_checkpoints: bool = True
    """Beat queues an evaluation of each new checkpoint that the recipe's own evaluations leave out."""
    systems: Annotated[Words, AfterValidator(_systems)] = list(SYSTEMS)
    """Which systems watch trainings (`docs/autonomy/`): `all`, names, or none."""
    system_periods: dict[str, Positive] = {}
    """How often they look, in seconds, where that is not their own: `{"regression": 60}`."""
    fix_command: str = ""
    """What `POST /fix` with mode `fix` runs, such as `claude -p`: a program and its arguments, no shell. It gets the
    diagnosis as JSON on stdin. Empty: diagnosis only."""
    fix_timeout_s: float = Field(600, gt=0)
    """The command and all it started are killed after this."""

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(lambda level: str(level).upper())
    ] = Field("INFO", validation_alias=_also("LOG_LEVEL", "LOG_LEVEL"))

    @property
    def ledger_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'ledger.sqlite3'}"

    @property
    def secrets_folder(self) -> Path:
        """Files of secrets that Milo makes for itself (`milo.storage.secrets`)."""
        return self.home / "secrets"

    @property
    def storage_url(self) -> str:
        return self.files_url or str(self.home)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once. Library code takes a `Settings` argument instead of calling this."""
    found = Settings()
    if found.redis_url and "redis_url" in found.model_fields_set:
        return found
    return found.model_copy(update={"redis_url": embedded_redis_url(found)})


def embedded_redis_url(settings: Settings) -> str:
    """Where the embedded Redis of this home listens, with its password if `milo up` has made it already."""
    try:
        login = f":{(settings.secrets_folder / REDIS_SECRET).read_text().strip()}@"
    except OSError:
        login = ""
    return f"redis://{login}127.0.0.1:{settings.redis_port}/0"
