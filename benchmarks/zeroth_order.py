"""A MeZO step beside the usual loop, one forward, and the memory traffic it cannot avoid.

    OMP_NUM_THREADS=1 python benchmarks/zeroth_order.py
    OMP_NUM_THREADS=2 python benchmarks/zeroth_order.py --wall

The usual loop is the published one: reseed torch's generator, draw ``torch.normal`` for every parameter, add it in
place, three times around the two losses and once for the update. All variants of a case run in turn in one process,
the least of each counts: process CPU time with one thread, wall time (``--wall``) with more. Weights are random.

Two floors are given for the step. *Traffic* is two forwards and a bare copy of the bytes of one read and one write of
all weights, at the bandwidth measured here; *drawn* is two forwards and the kernel's time for every element that a
step draws (all trained ones once, those of the layers twice more).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from workbench.case import Case
from workbench.engine.noise import Noise, numbered
from workbench.methods.base import levers

CASES = (("minilm", 1, 32), ("minilm", 8, 128), ("smollm2", 1, 32), ("smollm2", 8, 128))
HEAD = (
    "case", "forward, ms", "step / forward", "sign noise / forward", "usual loop / forward", "usual loop / step",
    "step / traffic floor", "step / drawn floor", "copy, GB/s",
)  # fmt: skip


def usual_loop(case: Case, model: Any, batch: Any, eps: float = 1e-3, lr: float = 1e-9) -> Callable[[], None]:
    """MeZO as published, with torch's generator."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def perturb(scale: float) -> None:
        torch.manual_seed(11)
        for parameter in parameters:
            z = torch.normal(0.0, 1.0, size=parameter.shape, dtype=parameter.dtype)
            parameter.data = parameter.data + z * scale

    @torch.no_grad()
    def step() -> None:
        perturb(eps)
        plus = case.task.loss(model, batch)
        perturb(-2 * eps)
        minus = case.task.loss(model, batch)
        perturb(eps)
        slope = float(plus - minus) / (2 * eps)
        torch.manual_seed(11)
        for parameter in parameters:
            z = torch.normal(0.0, 1.0, size=parameter.shape, dtype=parameter.dtype)
            parameter.data = parameter.data - lr * (slope * z)

    return step


def variants(model_name: str, batch_size: int, length: int) -> tuple[dict[str, Callable[[], Any]], int]:
    """What is timed, and the bytes of the weights."""
    case = Case("tokens", model_name, "mezo", batch_size, length, settings={"lr": 1e-9})
    signs = Case("tokens", model_name, "mezo", batch_size, length, settings={"lr": 1e-9, "noise": "sign"})
    model = case.attached(weights=False).eval()
    (batch,) = case.example()
    step, signed = case.step(model), signs.step(model)
    signed.parts = levers.applied(signs.method.parts(signs.config), signs.config)
    weights = [p.detach() for p in step.parameters]
    layers = [i for i, w in enumerate(weights) if not (w.ndim == 2 and len(w) > 10_000)]
    kept = torch.empty(max(w.numel() for w in weights))

    @torch.no_grad()
    def forward() -> None:
        case.task.loss(model, batch)

    def copy() -> None:
        for weight in weights:
            kept[: weight.numel()].copy_(weight.view(-1))

    def draw() -> None:
        Noise([1], [1e-12]).add_(weights, numbered(range(len(weights))))
        for _ in range(2):
            Noise([1], [1e-12]).add_([weights[i] for i in layers], numbered(layers))

    runs = {"forward": forward, "step": lambda: step([batch], seed=1), "sign": lambda: signed([batch], seed=1)}
    runs |= {"usual": usual_loop(case, model, batch), "copy": copy, "draw": draw}
    return runs, sum(w.nbytes for w in weights)


def measured(runs: dict[str, Callable[[], Any]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def cells(name: str, best: dict[str, float], size: int) -> list[str]:
    forward, step = best["forward"], best["step"]
    return [
        name,
        f"{forward * 1e3:.1f}",
        *(f"{best[variant] / forward:.2f}" for variant in ("step", "sign", "usual")),
        f"{best['usual'] / step:.2f}",
        f"{step / (2 * forward + best['copy']):.2f}",
        f"{step / (2 * forward + best['draw']):.2f}",
        f"{2 * size / best['copy'] / 1e9:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--wall", action="store_true", help="wall time, for more than one thread")
    given = parser.parse_args()
    clock = time.perf_counter if given.wall else time.process_time
    print(f"{torch.get_num_threads()} threads, {'wall' if given.wall else 'CPU'} time")
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for model_name, batch_size, length in CASES:
        name = f"{model_name} {batch_size}x{length}"
        if given.only in name:
            runs, size = variants(model_name, batch_size, length)
            print(f"| {' | '.join(cells(name, measured(runs, given.repeats, clock), size))} |", flush=True)


if __name__ == "__main__":
    main()
