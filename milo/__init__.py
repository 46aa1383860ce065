"""Milo: one GPU, one queue. The library: knows nothing of HTTP, Celery tasks or training."""

__version__ = "0.1.0"
