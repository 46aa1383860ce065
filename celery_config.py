"""Celery's settings: data only. Each says why it is what it is; `docs/architecture.md` tells the story around them.

The one idea behind them: the ledger is the truth and a message is a wake-up. A message may be lost, doubled or late
and no job is; so every setting here prefers a simple broker over a clever one.
"""

from milo.settings import get_settings

_settings = get_settings()

include = ["workers.tasks", "workers.beat_tasks"]

# --- wire: JSON and nothing else, so that a message can never run code ---
broker_url = _settings.redis_url
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
task_ignore_result = True  # results live in the ledger
timezone = "UTC"

# --- delivery ---
task_acks_late = True  # a worker that dies mid-job leaves its message unacknowledged
task_reject_on_worker_lost = False  # with a poison job it would loop for ever; the ledger counts attempts instead
task_default_queue = "cpu"
task_create_missing_queues = True
task_routes = {"milo.tick.*": {"queue": "cpu"}}  # a job's queue is a column of its row, given at publish

# --- workers ---
worker_pool = "prefork"  # only prefork has hard time limits and survives a CUDA fault: the child dies, not the worker
worker_pool_start_method = "spawn"  # CUDA can't be used in a forked child once the parent touched it
worker_concurrency = 1  # VRAM use is serialised by construction; the CPU workers say their own on the command line
worker_prefetch_multiplier = 1  # a message held back by a busy worker is a message no other can take
worker_cancel_long_running_tasks_on_connection_loss = False  # True lost the job in four trials of four
worker_soft_shutdown_timeout = 5.0  # with REMAP_SIGTERM=SIGQUIT: a slice gives way at its next yield point
worker_enable_soft_shutdown_on_idle = False
worker_deduplicate_successful_tasks = False
worker_proc_alive_timeout = 60  # a spawned child imports numpy and the database on a busy machine
task_time_limit = _settings.hard_limit_s  # kills a hung engine; the lease ends, the job gets its next attempt
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# --- what Flower shows ---
task_track_started = True
worker_send_task_events = True
task_send_sent_event = True

# --- broker: fail fast, come back by itself ---
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever
broker_pool_limit = 10
task_publish_retry = False  # the reconciler publishes again; a request must not wait for a dead Redis
broker_transport_options = {
    "visibility_timeout": 3600,  # a redelivery is a no-op here, so long is right: short ones only make noise
    "unacked_restore_interval": 5,
    "queue_order_strategy": "priority",  # strict, in the order of -Q: a person before an archive before training
    "priority_steps": [0],  # no message priorities: queue order alone decides
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "retry_on_timeout": True,
}

# --- beat: every tick is idempotent, expires before the next one, so that none pile up, and knows its period, so that
# of two beats only one has its slot ---
beat_scheduler = "milo.queue.beat:Scheduler"  # goes on ticking when the clock is set back
beat_max_loop_interval = 1
beat_schedule_filename = str(_settings.home / "beat-schedule")
_every_s = {
    "reconcile": _settings.reconcile_s,
    "index": 2.0,  # new transcripts for the search
    "webhooks": 5.0,
    "watch": _settings.watch_s,  # the watchdog and the status file
    "health": 60.0,
    "checkpoints": 60.0,
    "systems": 30.0,  # what watches trainings
    "unload": 60.0,
    "clean": 3600.0,
}
beat_schedule = {
    name: {
        "task": f"milo.tick.{name}",
        "schedule": every_s,
        "kwargs": {"every_s": every_s},
        "options": {"expires": every_s, **({"queue": "gpu.background"} if name == "unload" else {})},
    }
    for name, every_s in _every_s.items()
}
