"""Celery tasks, thin: claim -> engine -> finish. `runner.py` is the one loop that every job runs through."""
