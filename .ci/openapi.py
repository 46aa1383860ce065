"""Writes the description of the API to web/openapi.json; the client's types are made of it."""

from __future__ import annotations

import json
from pathlib import Path

from api.app import create_app
from milo.settings import Settings

TARGET = Path(__file__).resolve().parent.parent / "web" / "openapi.json"

if __name__ == "__main__":
    document = create_app(Settings(home=Path("/nowhere"), api_key="for-the-schema", _env_file=None)).openapi()
    TARGET.write_text(json.dumps(document))
