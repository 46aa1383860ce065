"""Engines: the models behind a job, one file each. `base.py` says what each must do."""
