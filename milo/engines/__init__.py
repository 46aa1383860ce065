"""Engines: the models behind a job. `registry` is the door; `milo.protocols` says what each engine promises."""
