"""The public face of this package: which model a name means, what it can do, and which version serves."""

from __future__ import annotations

from milo.models.deployment import activate, delete_version, deploy, rollback, stage, withdraw
from milo.models.describe import ModelInfo, base_name, describe, find_file, folders_of
from milo.models.hub import pull
from milo.models.resolve import content_sha256, ensure, is_path, resolve
from milo.models.store import ModelEntry, ResolvedModel, embedded_path, list_models, serving, verify

__all__ = [
    "ModelEntry",
    "ModelInfo",
    "ResolvedModel",
    "activate",
    "base_name",
    "content_sha256",
    "delete_version",
    "deploy",
    "describe",
    "embedded_path",
    "ensure",
    "find_file",
    "folders_of",
    "is_path",
    "list_models",
    "pull",
    "resolve",
    "rollback",
    "serving",
    "stage",
    "verify",
    "withdraw",
]
