"""Celery and all else that travels through Redis: wake-ups, events, streams, beat.

`celery -A milo.queue` finds the app in `celery.py`. Nothing here is the truth about a job: that is `milo.ledger`.
"""
