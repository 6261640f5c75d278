"""Noise depends on seed, tensor and element alone, bit for bit, and is normal as far as millions of draws can tell."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from workbench.core.errors import BadInput
from workbench.engine import noise as engine
from workbench.engine import noise_reference
from workbench.engine.noise import KINDS, Noise, numbered
from workbench.memory import compiler, ledger

DTYPES = (torch.float32, torch.bfloat16, torch.float64)
needs_kernel = pytest.mark.skipif(engine._kernel() is None, reason="no C++ compiler")


def drawn(count: int, seed: int = 0, tensor: int = 0, kind: str = "gaussian") -> Tensor:
    return Noise([seed], [1.0], kind).like(torch.empty(count), numbered([tensor]))


# -- bits ------------------------------------------------------------------------------------------------


def test_generator_gives_the_published_known_answers() -> None:
    """Known-answer vectors of the authors' library, for 7 rounds (used here) and 10."""
    ones = 0xFFFFFFFF
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0A4093822
    answers = [
        ((0, 0, 0, 0), 0, 7, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((0, 0, 0, 0), 0, 10, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ones,) * 4, ones << 32 | ones, 10, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (*pi, 10, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ]
    for counter, key, rounds, words in answers:
        assert tuple(int(w) for w in noise_reference.philox(counter, key, rounds)) == words


@needs_kernel
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_and_numpy_agree_bit_for_bit(kind: str, dtype: torch.dtype, monkeypatch: Any) -> None:
    """Several terms, long keys, starts inside a tile and far out, lengths that fill no vector, halfway roundings."""
    torch.manual_seed(0)
    lengths = (1, 15, 63, 64, 65, 257, 2047, 2049, 70_001)
    weights = [torch.randn(n + 1).to(dtype)[1:] for n in lengths]
    weights.append(torch.full((300,), float("nan"), dtype=dtype))
    starts = [0, 1, 17, 64, 255, 2**33 + 5, 2**40, 3, 2047, 9]
    places = numbered(range(5, 15), starts)
    noise = Noise([7, 2**31 + 11, 2**40 + 3], [1e-3, -0.25, 3.0], kind)
    fast = noise.added_to(weights, places)
    monkeypatch.setattr(engine, "_kernel", lambda: None)
    slow = noise.added_to(weights, places)
    for a, b in zip(fast, slow, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
        assert torch.equal(a.isnan(), b.isnan())
    rows = torch.tensor([[3, 0], [3, 9]])
    matrix = torch.randn(10, 33).to(dtype)
    slow_rows = noise.added_to_rows(matrix, numbered([2]), rows)
    monkeypatch.undo()
    assert torch.equal(noise.added_to_rows(matrix, numbered([2]), rows), slow_rows)
    assert torch.equal(noise.added_to([matrix], numbered([2]))[0][rows], slow_rows)
    assert torch.equal(noise.rows_like(matrix, numbered([2]), rows), noise.like(matrix, numbered([2]))[rows])


@needs_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_every_vector_width_gives_the_same_bits(kind: str, monkeypatch: Any) -> None:
    """The kernel compiled for 128, 256 and 512 bits, as far as this processor runs them."""
    here = list(engine._ARCHITECTURE).index(torch.backends.cpu.get_cpu_capability())
    source = Path(engine.__file__).parent / "csrc" / "noise.cpp"
    found = []
    for flags in ((), *list(engine._ARCHITECTURE.values())[here:]):
        library = engine.loaded(compiler.compiled(source, (), (*engine._EXACT, *flags)))
        monkeypatch.setattr(engine, "_kernel", lambda library=library: library)
        found.append(drawn(100_003, seed=3, kind=kind))
    assert len(found) > 1
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_threads_order_and_cuts_change_no_bit(kind: str) -> None:
    weights = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (200_001, 5, 40_000)]
    noise = Noise([1, 2], [0.5, 0.1], kind)
    whole = noise.added_to(weights, numbered([0, 1, 2]))
    threads = torch.get_num_threads()
    try:
        for count in (2, 4):
            torch.set_num_threads(count)
            again = noise.added_to(weights, numbered([0, 1, 2]))
            assert all(map(torch.equal, whole, again))
    finally:
        torch.set_num_threads(threads)
    backwards = noise.added_to(weights[::-1], numbered([2, 1, 0]))[::-1]
    assert all(map(torch.equal, whole, backwards))
    cuts = [0, 1, 77, 32_768, 131_071, 200_001]
    parts = [weights[0][a:b] for a, b in pairwise(cuts)]
    assert torch.equal(torch.cat(noise.added_to(parts, numbered([0] * 5, cuts[:-1]))), whole[0])


def test_the_global_generator_plays_no_part() -> None:
    torch.manual_seed(0)
    first = drawn(100)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(first, drawn(100))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, drawn(100, tensor=1))
    assert not torch.equal(first, drawn(100, seed=1))


def test_channels_last_weights_are_filled_as_they_lie() -> None:
    weight = torch.zeros(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    noise = Noise([3], [1.0])
    noise.add_([weight], numbered([0]))
    assert torch.equal(weight.permute(0, 2, 3, 1).reshape(-1), drawn(48, seed=3))
    assert noise.added_to([weight], numbered([0]))[0].stride() == weight.stride()


# -- statistics ------------------------------------------------------------------------------------------


def test_moments_tails_and_shape_are_those_of_a_normal_distribution() -> None:
    """Sixteen million draws: four moments within four standard errors, tails to five deviations, KS on a million."""
    count = 1 << 24
    z = drawn(count, seed=12).double()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = (float((z**power).mean()) - mean) / (variance / count) ** 0.5
        assert abs(error) < 4, (power, error)
    for threshold in (1.0, 2.0, 3.0, 4.0, 4.5, 5.0):
        for side in (z, -z):
            expected = count * stats.norm.sf(threshold)
            assert abs(int((side > threshold).sum()) - expected) < 4 * expected**0.5 + 1, threshold
    assert stats.kstest(z[: 1 << 20].numpy(), "norm").pvalue > 1e-3


def test_signs_are_fair_and_nothing_else() -> None:
    count = 1 << 22
    z = drawn(count, seed=5, kind="sign")
    assert torch.equal(z.abs(), torch.ones(count))
    assert abs(float(z.double().sum())) < 4 * count**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_tensors_and_adjacent_seeds_are_uncorrelated(kind: str) -> None:
    """Also squares, which would show a shared radius; lags at the lanes, words and calls of the generator."""
    count = 1 << 20
    z = drawn(count + 4096, seed=40, kind=kind)
    others = [z[lag : lag + count] for lag in (1, 2, 15, 16, 17, 32, 48, 63, 64, 128, 256, 2048)]
    others += [drawn(count, seed=s, kind=kind) for s in (41, 42, 40 + 2**32)]
    others += [drawn(count, seed=40, tensor=t, kind=kind) for t in (1, 2, 1000)]
    base = z[:count].double()
    for other in others:
        pairs = [(base, other.double())]
        if kind == "gaussian":
            pairs.append(((base**2 - 1) / 2**0.5, (other.double() ** 2 - 1) / 2**0.5))
        for a, b in pairs:
            assert abs(float(a @ b)) / count**0.5 < 4.5


def test_bits_of_the_generator_are_uniform() -> None:
    """Chi-square over the bytes of each word, with consecutive counters and with consecutive keys."""
    counters = np.arange(1 << 18)
    by_counter = noise_reference.philox((counters, 0, 0, 0), 1)
    by_key = [np.array([int(noise_reference.philox((0, 0, 0, 0), k)[w]) for k in range(4096)]) for w in range(4)]
    for word in (*by_counter, *by_key):
        for shift in (0, 8, 16, 24):
            counts = np.bincount((word >> shift) & 255, minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-5


# -- operators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_operators_keep_torchs_rules(kind: str) -> None:
    """Schema, mutation, aliasing and fake kernels, checked by torch itself."""
    terms = torch.tensor([1, 2]), torch.tensor([0.5, 0.1], dtype=torch.float64), kind
    weights = [torch.randn(7, 3), torch.randn(5).bfloat16()]
    tests = ("test_schema", "test_faketensor")
    ops = torch.ops.pintpot
    torch.library.opcheck(ops.add_noise_.default, (weights, numbered([0, 1]), *terms), test_utils=tests)
    torch.library.opcheck(ops.with_noise.default, (weights, numbered([0, 1]), *terms), test_utils=tests)
    out = torch.empty_like(weights[0])
    torch.library.opcheck(ops.write_with_noise_.default, (out, weights[0], numbered([0]), *terms), test_utils=tests)
    rows = torch.tensor([[1, 6, 1]])
    torch.library.opcheck(ops.gather_noise.default, (weights[0], numbered([0]), rows, *terms), test_utils=tests)
    torch.library.opcheck(ops.gather_with_noise.default, (weights[0], numbered([0]), rows, *terms), test_utils=tests)


@pytest.mark.skipif(not ledger.available(), reason="no ledger")
def test_adding_in_place_allocates_nothing() -> None:
    weight = torch.zeros(100_000)
    noise, places = Noise([1], [1.0]), numbered([0])
    with ledger.counting() as count:
        noise.add_([weight], places)
    assert count.peak == 0
    assert weight._version > 0


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="gaussian or sign"):
        Noise([1], [1.0], "uniform")
    with pytest.raises(BadInput, match="one for each seed"):
        Noise([1, 2], [1.0])
    with pytest.raises(BadInput, match="float32, bfloat16 or float64"):
        Noise([1], [1.0]).add_([torch.zeros(3, dtype=torch.float16)], numbered([0]))
    for row in (4, -1):
        with pytest.raises(IndexError):
            Noise([1], [1.0]).added_to_rows(torch.zeros(4, 2), numbered([0]), torch.tensor([row]))
