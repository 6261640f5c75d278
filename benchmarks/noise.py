"""Adding seeded noise to weights: the counter-based kernel beside torch's generator and a plain addition.

    OMP_NUM_THREADS=1 python benchmarks/noise.py

Thread CPU time, variants in turn, the least of each; one thread. Every figure but the second column is relative to
``weight.add_(torch.randn(...))`` of the same row. "Two terms" adds two noises in one pass. The floor is the same
addition with the noise already there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from workbench.engine.noise import Noise, numbered

SIZES = (384 * 384, 1536 * 384, 1 << 21, 1 << 24)
HEAD = ("elements, format", "randn + add_, ns per element", "gaussian", "gaussian, two terms", "sign", "add_ alone")


def variants(size: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    weight, given = torch.zeros(size, dtype=dtype), torch.randn(size).to(dtype)
    generator = torch.Generator().manual_seed(0)
    places = numbered([0])
    noises = {
        "gaussian": Noise([1], [1e-3]),
        "gaussian, two terms": Noise([1, 2], [1e-3, 1e-3]),
        "sign": Noise([1], [1e-3], "sign"),
    }
    drawn = {name: lambda noise=noise: noise.add_([weight], places) for name, noise in noises.items()}
    return {
        "randn": lambda: weight.add_(torch.randn(size, generator=generator, dtype=dtype), alpha=1e-3),
        **drawn,
        "add": lambda: weight.add_(given, alpha=1e-3),
    }


def fastest(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least thread CPU seconds of each, taken in turn."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            best[name] = min(best[name], time.thread_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for dtype in (torch.float32, torch.bfloat16):
        for size in SIZES:
            best = fastest(variants(size, dtype), given.repeats)
            base = best.pop("randn")
            cells = [f"{size:,} {str(dtype).removeprefix('torch.')}", f"{base / size * 1e9:.2f}"]
            print(f"| {' | '.join([*cells, *(f'{seconds / base:.3f}' for seconds in best.values())])} |", flush=True)


if __name__ == "__main__":
    main()
