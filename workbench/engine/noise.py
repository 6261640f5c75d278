"""Seeded noise that is made again instead of kept: a function of (seed, tensor number, element) and nothing else.

One pass over the weights adds any number of such noises to them. A C++ kernel does the work; without a compiler
numpy gives the same bits about thirty times slower. Elements are numbered as they lie in memory. The operators
need no memory of their own beyond their results, and fake tensors, trackers and recorders see them. They have
no derivative.

>>> noise = Noise([seed], [1e-3])
>>> noise.add_(weights, numbered(range(len(weights))))
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.core.errors import BadInput, ResourceMissing
from workbench.core.operators import brought_by
from workbench.engine import noise_reference

KINDS = ("gaussian", "sign")
_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2}
_ARCHITECTURE = {"AVX512": ("-march=x86-64-v4", "-mprefer-vector-width=512"), "AVX2": ("-march=x86-64-v3",)}
_EXACT = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp")


class Noise:
    """The sum over k of ``scales[k] * z(seeds[k])``; z is standard normal, or plus or minus one (``kind="sign"``).

    ``seeds`` are 64-bit keys, ``scales`` numbers. Each weight tensor has a number (:func:`numbered`) that decides
    its noise together with the seed. Sums are taken in float32 (float64 for float64 weights) and rounded once.
    """

    def __init__(self, seeds: Sequence[int], scales: Sequence[float], kind: str = "gaussian") -> None:
        if kind not in KINDS:
            raise BadInput("kind", kind, " or ".join(KINDS))
        if not seeds or len(seeds) != len(scales):
            raise BadInput("scales", len(scales), f"one for each seed, of which there are {len(seeds)}; at least one")
        self.kind = kind
        self.seeds = torch.tensor(seeds, dtype=torch.int64)
        self.scales = torch.tensor(scales, dtype=torch.float64)

    def add_(self, weights: Sequence[Tensor], places: Tensor) -> None:
        """Add the noise to every weight in place, in one pass; ``places`` from :func:`numbered`."""
        torch.ops.pintpot.add_noise_(weights, places, self.seeds, self.scales, self.kind)

    def added_to(self, weights: Sequence[Tensor], places: Tensor) -> list[Tensor]:
        """New tensors, weights plus noise; the weights stay as they are."""
        result: list[Tensor] = torch.ops.pintpot.with_noise(weights, places, self.seeds, self.scales, self.kind)
        return result

    def write_to(self, out: Tensor, weight: Tensor, place: Tensor) -> None:
        """``out = weight + noise`` for one weight and a tensor of its shape, format and layout."""
        torch.ops.pintpot.write_with_noise_(out, weight, place, self.seeds, self.scales, self.kind)

    def added_to_rows(self, weight: Tensor, place: Tensor, rows: Tensor) -> Tensor:
        """``(weight + noise)[rows]`` for a matrix, of shape ``(*rows.shape, columns)``; other rows are not visited."""
        result: Tensor = torch.ops.pintpot.gather_with_noise(weight, place, rows, self.seeds, self.scales, self.kind)
        return result

    def rows_like(self, weight: Tensor, place: Tensor, rows: Tensor) -> Tensor:
        """Those rows of the noise itself."""
        made: Tensor = torch.ops.pintpot.gather_noise(weight, place, rows, self.seeds, self.scales, self.kind)
        return made

    def like(self, weight: Tensor, place: Tensor) -> Tensor:
        """The noise itself, for one weight."""
        made = torch.zeros_like(weight, requires_grad=False)
        self.add_([made], place)
        return made


def numbered(numbers: Iterable[int], starts: Iterable[int] | None = None) -> Tensor:
    """Places of weight tensors: their numbers, and the index of their first element (0, unless one is a slice)."""
    first = list(numbers)
    pairs = zip(first, [0] * len(first) if starts is None else starts, strict=True)
    return torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2)


# -- operators ------------------------------------------------------------------------------------------

_TERMS = "Tensor seeds, Tensor scales, str kind"
torch.library.define("pintpot::add_noise_", f"(Tensor(a!)[] weights, Tensor places, {_TERMS}) -> ()")
torch.library.define("pintpot::with_noise", f"(Tensor[] weights, Tensor places, {_TERMS}) -> Tensor[]")
torch.library.define("pintpot::write_with_noise_", f"(Tensor(a!) out, Tensor weight, Tensor place, {_TERMS}) -> ()")
torch.library.define("pintpot::gather_noise", f"(Tensor weight, Tensor place, Tensor rows, {_TERMS}) -> Tensor")
torch.library.define("pintpot::gather_with_noise", f"(Tensor weight, Tensor place, Tensor rows, {_TERMS}) -> Tensor")
_NAMES = ("add_noise_", "with_noise", "write_with_noise_", "gather_noise", "gather_with_noise")
brought_by(__name__, *(f"pintpot::{name}" for name in _NAMES))


@torch.library.impl("pintpot::add_noise_", "cpu")
def _add_noise_(weights: list[Tensor], places: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> None:
    _run(weights, weights, places, seeds, scales, kind)
    torch.autograd.graph.increment_version(weights)


@torch.library.register_fake("pintpot::add_noise_")
def _(weights: list[Tensor], places: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> None:
    return None


@torch.library.impl("pintpot::with_noise", "cpu")
def _with_noise(weights: list[Tensor], places: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> list[Tensor]:
    made = [torch.empty_like(w) for w in weights]
    _run(made, weights, places, seeds, scales, kind)
    return made


@torch.library.register_fake("pintpot::with_noise")
def _(weights: list[Tensor], places: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> list[Tensor]:
    return [torch.empty_like(w) for w in weights]


@torch.library.impl("pintpot::write_with_noise_", "cpu")
def _write_with_noise_(out: Tensor, weight: Tensor, place: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> None:
    if (out.shape, out.stride(), out.dtype) != (weight.shape, weight.stride(), weight.dtype):
        raise ValueError("noise is written to a tensor of the weight's shape, layout and format")
    _run([out], [weight], place, seeds, scales, kind)
    torch.autograd.graph.increment_version([out])


@torch.library.register_fake("pintpot::write_with_noise_")
def _(out: Tensor, weight: Tensor, place: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> None:
    return None


@torch.library.impl("pintpot::gather_with_noise", "cpu")
def _gather_with_noise(weight: Tensor, place: Tensor, rows: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> Tensor:
    made = torch.embedding(weight, rows)
    _run_rows(made, rows, weight.shape, place, seeds, scales, kind)
    return made


@torch.library.impl("pintpot::gather_noise", "cpu")
def _gather_noise(weight: Tensor, place: Tensor, rows: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> Tensor:
    made = weight.new_zeros((*rows.shape, weight.shape[1]))
    _run_rows(made, rows, weight.shape, place, seeds, scales, kind)
    return made


@torch.library.register_fake("pintpot::gather_with_noise")
@torch.library.register_fake("pintpot::gather_noise")
def _(weight: Tensor, place: Tensor, rows: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> Tensor:
    return weight.new_empty((*rows.shape, weight.shape[1]))


# -- the kernel -----------------------------------------------------------------------------------------


@functools.cache
def _kernel() -> ctypes.CDLL | None:
    """The compiled kernel; ``None`` where it cannot be made, which costs speed only."""
    from workbench.memory.compiler import compiled

    flags = (*_EXACT, *_ARCHITECTURE.get(torch.backends.cpu.get_cpu_capability(), ()))
    try:
        return loaded(compiled(Path(__file__).parent / "csrc" / "noise.cpp", (), flags))
    except (ResourceMissing, OSError):
        return None


def loaded(path: Path) -> ctypes.CDLL:
    """The library at ``path`` with its one function's arguments declared."""
    library = ctypes.CDLL(str(path))
    pointer, number, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    library.add_noise.argtypes = [pointer, number, number, pointer, pointer, flag, flag, flag]
    library.add_noise.restype = None
    return library


def _run(outs: list[Tensor], weights: list[Tensor], places: Tensor, seeds: Tensor, scales: Tensor, kind: str) -> None:
    """``outs = weights + noise`` for tensors of equal layout, grouped by number format."""
    for dtype in dict.fromkeys(w.dtype for w in weights):
        pieces: list[int] = []
        for out, weight, (tensor, start) in zip(outs, weights, places.tolist(), strict=True):
            if weight.dtype is not dtype:
                continue
            if not weight.is_contiguous() and not torch.ops.aten.is_non_overlapping_and_dense.default(weight):
                raise ValueError("noise is added to tensors without gaps or overlaps only")
            if _kernel() is None:
                flat, target = (t.as_strided((t.numel(),), (1,)) for t in (weight.detach(), out.detach()))
                noise_reference.add_noise(target, flat, start, tensor, seeds, scales, kind == "sign")
            pieces += (out.data_ptr(), weight.data_ptr(), weight.numel(), start, tensor)
        table = (ctypes.c_int64 * len(pieces))(*pieces)
        _call(ctypes.addressof(table), len(pieces) // 5, dtype, seeds, scales, kind)


def _run_rows(
    made: Tensor, rows: Tensor, shape: torch.Size, place: Tensor, seeds: Tensor, scales: Tensor, kind: str
) -> None:
    """Add to each row of ``made`` the noise of the matrix row it was taken from."""
    height, width = shape
    asked = rows.reshape(-1).to(torch.int64).numpy()
    if len(asked) and not 0 <= asked.min() <= asked.max() < height:
        raise IndexError(f"rows {asked.min()} to {asked.max()} asked of a matrix of {height} rows")
    tensor, start = place[0].tolist()
    if _kernel() is None:
        for row, out in zip(asked.tolist(), made.view(-1, width)):
            noise_reference.add_noise(out, out.clone(), start + row * width, tensor, seeds, scales, kind == "sign")
    pieces = np.empty((len(asked), 5), np.int64)
    pieces[:, 0] = pieces[:, 1] = made.data_ptr() + np.arange(len(asked)) * (width * made.element_size())
    pieces[:, 2:] = width, 0, tensor
    pieces[:, 3] = start + asked * width
    _call(pieces.ctypes.data, len(pieces), made.dtype, seeds, scales, kind)


def _call(pieces: int, count: int, dtype: torch.dtype, seeds: Tensor, scales: Tensor, kind: str) -> None:
    library = _kernel()
    if dtype not in _DTYPES:
        raise BadInput("dtype", str(dtype), "float32, bfloat16 or float64 weights")
    if library is not None:
        terms = len(seeds), seeds.data_ptr(), scales.data_ptr()
        library.add_noise(pieces, count, *terms, _DTYPES[dtype], KINDS.index(kind), torch.get_num_threads())
