"""A safetensors file judged by its header before a byte of a tensor is read.

The library checks offsets and sizes; it accepts repeated names and control characters, holds no opinion on numbers
that are not finite, and would allocate whatever a header asks for.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput

if TYPE_CHECKING:
    import torch

LARGEST_HEADER = 8 * 2**20  #: bytes; a hundred thousand tensors fit
LARGEST_FILE = 8 * 2**30  #: bytes
_NAME = re.compile(r"[A-Za-z0-9_.\-/:]{1,300}")
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def shapes(file: Path, where: str) -> dict[str, tuple[int, ...]]:
    """Shape by name of every tensor, from a header that holds together. Raises ``BadInput`` in one sentence."""

    def bad(expected: str) -> BadInput:
        return BadInput(where, file.name, expected)

    try:
        if file.is_symlink() or not file.is_file():
            raise bad("a plain file")
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 2 <= length <= min(LARGEST_HEADER, size - 8) or size > LARGEST_FILE:
                raise bad("a whole safetensors file of at most 8 GiB")
            header = json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=named_once)
    except (OSError, ValueError, RecursionError):
        raise bad("a readable safetensors header without repeated names") from None
    if not isinstance(header, dict):
        raise bad("a safetensors header that names tensors")
    header.pop("__metadata__", None)
    found, spans = {}, []
    for name, entry in header.items():
        found[name] = _shape(name, entry, spans, bad)
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise bad("tensors that follow each other without gap or overlap")
        end = last
    if end != size - 8 - length:
        raise bad("a file as long as its header says")
    return found


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice: readers differ in which of the two they take."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _shape(name: str, entry: Any, spans: list[tuple[int, int]], bad: Any) -> tuple[int, ...]:
    if not _NAME.fullmatch(name):
        raise bad("names of letters, digits, dots and dashes")
    try:
        shape, (first, last) = entry["shape"], entry["data_offsets"]
        numbers = [*shape, first, last]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**40 for n in numbers)
        width = _SIZES.get(entry["dtype"])
    except (KeyError, TypeError, ValueError):
        raise bad(f"a shape, a type and a place for {name}") from None
    if width is None:
        raise bad(f"tensors of type {', '.join(_SIZES)}; {name} is another")
    if not whole or len(shape) > 8 or math.prod(shape) * width != last - first:
        raise bad(f"a size that fits the shape of {name}")
    spans.append((first, last))
    return tuple(shape)


def finite(file: Path, where: str, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The tensors, which must be exactly the ``wanted`` ones by name and shape, and finite. Raises ``BadInput``."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = shapes(file, where)
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        raise BadInput(
            where,
            file.name,
            f"exactly the tensors of this method on this model; missing {missing[:2] or 'none'}, "
            f"unknown {unknown[:2] or 'none'}",
        )
    for name, shape in wanted.items():
        if found[name] != tuple(shape):
            raise BadInput(where, name, f"shape {tuple(shape)}, not {found[name]}")
    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except (SafetensorError, OSError):
        raise BadInput(where, file.name, "a whole safetensors file") from None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BadInput(where, name, "finite numbers only")
    return tensors


#: The library's names of number formats, narrowest first: tensors lie in a file from the widest to the narrowest.
_FORMATS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "int16": "I16",
    "uint16": "U16", "float16": "F16", "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32",
    "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64",
}  # fmt: skip


def file_bytes(state: Mapping[str, torch.Tensor]) -> int:
    """Bytes of the safetensors file that would ship the tuned part; nothing is copied to find out."""
    names = list(_FORMATS)
    kinds = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in state.items()}
    header: dict[str, Any] = {}
    end = 0
    for name in sorted(state, key=lambda n: (-names.index(kinds[n]), n)):
        begin, end = end, end + state[name].numel() * state[name].element_size()
        header[name] = {"dtype": _FORMATS[kinds[name]], "shape": list(state[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + end
