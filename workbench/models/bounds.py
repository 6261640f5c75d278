"""Bounds on a model configuration from elsewhere, looked at before transformers builds anything from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGEST_NUMBER = 10**8  #: of anything; no vocabulary, width or context comes near
LARGEST_COUNT = 2000  #: of layers, heads, experts
LARGEST_MODEL = 2 * 10**12  #: parameters of a plain estimate, width squared times layers and width times vocabulary
DEEPEST = 6  #: lists in lists

#: Parts of the names of fields that pick code rather than shapes, and what they may say.
_CODE = ("implementation", "trust_remote_code", "custom_generate", "kernel")
_OWN_CODE = ("eager", "sdpa", "flash_attention_2", "flex_attention")


def objection(config: Mapping[str, Any]) -> str:
    """What a configuration would have to be, or an empty text when nothing speaks against it."""
    for name, value in config.items():
        chosen = (isinstance(value, str) and value not in _OWN_CODE) or (name == "trust_remote_code" and value)
        if chosen and any(word in str(name) for word in _CODE):
            return f"a configuration without {name}, which would choose code"
    if config.get("quantization_config"):
        return "a configuration of plain weights; quantization_config is not followed"
    wrong = _wrong(config, 0)
    if wrong:
        return wrong
    layers = max((v for n, v in _numbers(config) if "layers" in n or "depth" in n), default=1)
    width = max((v for n, v in _numbers(config) if n in ("hidden_size", "n_embd", "d_model", "dim")), default=1)
    vocabulary = max((v for n, v in _numbers(config) if n == "vocab_size"), default=1)
    if width * width * layers > LARGEST_MODEL or width * vocabulary > LARGEST_MODEL:
        return "a model of at most some 10^12 parameters"
    return ""


def _numbers(config: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(str(n), v) for n, v in config.items() if isinstance(v, int) and not isinstance(v, bool)]


def _wrong(value: Any, depth: int, name: str = "") -> str:
    if depth > DEEPEST:
        return "a configuration without lists nested deeper than six"
    if isinstance(value, Mapping):
        return next((w for n, v in value.items() if (w := _wrong(v, depth + 1, str(n)))), "")
    if isinstance(value, list):
        return next((w for v in value if (w := _wrong(v, depth + 1, name))), "")
    if isinstance(value, str):
        return f"a {name} of at most 4096 characters" if len(value) > 4096 else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or abs(value) > LARGEST_NUMBER * (1 if isinstance(value, int) else 10**30):
            return f"a finite {name} within bounds"
        counted = name.startswith(("num_", "n_")) and any(w in name for w in ("layer", "head", "expert", "block"))
        if counted and value > LARGEST_COUNT:
            return f"{name} of at most {LARGEST_COUNT}"
    return ""
