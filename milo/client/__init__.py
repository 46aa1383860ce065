"""The Python client: `Milo` is a server, `BatchHandle` a batch of it, `verify_webhook` checks a callback."""

from milo.client.client import BatchHandle, Milo, verify_webhook

__all__ = ["BatchHandle", "Milo", "verify_webhook"]
