"""What a result is kept under: a digest of everything that decides it. Needs no database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def content_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 of the sorted JSON of everything that decides a run's result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
