"""Faults on purpose: real processes, real Redis, real signals. `python -m tests.faults` prints what held."""
