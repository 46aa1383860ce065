"""A recipe's schedule as the arguments of transformers' Seq2SeqTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milo.recipes import Schedule
from milo.settings import Settings

METRIC = "eval_wer"
"""As stock names it: what tells the best checkpoint."""


def arguments(settings: Settings, schedule: Schedule, folder: Path, total: int) -> Any:
    """What stock Seq2SeqTrainer is told. Logging is Milo's own; saving goes through `WhisperTrainer`."""
    from transformers import Seq2SeqTrainingArguments

    return Seq2SeqTrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=schedule.batch_size,
        gradient_accumulation_steps=schedule.gradient_accumulation,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.scheduler,
        warmup_steps=schedule.warmup_steps,
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        optim="adamw_torch",
        seed=schedule.seed,
        bf16=schedule.precision == "bf16",
        fp16=schedule.precision == "fp16",
        **_checkpointing(schedule.gradient_checkpointing),
        logging_strategy="no",
        logging_steps=schedule.log_steps,  # for a stock Trainer that resumes
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=schedule.eval_steps,
        save_strategy="steps",
        save_steps=schedule.save_steps,
        metric_for_best_model=METRIC,
        greater_is_better=False,
        ignore_data_skip=True,  # `Batches` begins where the checkpoint is
        remove_unused_columns=False,
        use_cpu=settings.device == "cpu",
        report_to="none",
        disable_tqdm=True,
    )


def _checkpointing(wanted: bool) -> dict[str, bool]:
    """The argument's name depends on the version of transformers."""
    from transformers import TrainingArguments

    new = "activation_checkpointing"
    return {new if hasattr(TrainingArguments, new) else "gradient_checkpointing": True} if wanted else {}
