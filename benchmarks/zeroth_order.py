"""A MeZO step beside the usual loop, one forward, and the memory traffic it cannot avoid; writes docs/zeroth-order.md.

    OMP_NUM_THREADS=1 python benchmarks/zeroth_order.py [--part PART] [--only CASE] [--repeats N] [--page]
    OMP_NUM_THREADS=2 python benchmarks/zeroth_order.py --wall

Parts are ``time``, ``noise`` (bytes of a step whose noise is kept) and ``answers`` (training on wrong answers alone).
The usual loop is the published one: reseed torch's generator, draw ``torch.normal`` for every parameter, add it in
place, three times around the two losses and once for the update. All variants of a case run in turn in one process,
the least of each counts: process CPU time with one thread, wall time (``--wall``, only printed) with more. Weights are
random where time and bytes are asked.

Two floors are given for the step. *Traffic* is two forwards and a bare copy of the bytes of one read and one write of
all weights, at the bandwidth measured here; *drawn* is two forwards and the kernel's time for every element that a
step draws (all trained ones once, those of the layers twice more).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import zeroth_order_page as report

import workbench as wb
from workbench.case import Case
from workbench.engine.noise import Noise, numbered
from workbench.environment import environment, now
from workbench.lens.kept_noise import kept_noise
from workbench.methods.base import levers

RESULTS = Path(__file__).resolve().parent / "results" / "zeroth_order.json"
PARTS = ("time", "noise", "answers")

CASES = (("minilm", 1, 32), ("minilm", 8, 128), ("smollm2", 1, 32), ("smollm2", 8, 128))
KEPT = (("minilm", 8, 128), ("smollm2", 1, 32))
SEEDS = (0, 1, 2)
#: The head alone, on what the frozen rest gives, which is kept: a step is then as cheap as its four pairs of products.
ANSWERS = {
    "gradient": "two-sided", "optimizer": "adamw", "lr": 0.03, "perturbation": 0.1, "probes": 4, "prefix_cache": "ram",
}  # fmt: skip


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


def answered(objective: str, seed: int) -> dict[str, float]:
    """Held-out score of MiniLM's head after training on the loss, on wrong answers alone, or not at all."""
    bench = wb.open("movie-sentiment", "minilm", budget="64 GiB", batch=16, train=400, test=200, epochs=12)
    if not objective:
        bench = wb.open("movie-sentiment", "minilm", budget="64 GiB", batch=16, train=400, test=200, steps=1)
        record = bench.run("head", seed, **ANSWERS | {"lr": 1e-9})
    else:
        record = bench.run("head", seed, **ANSWERS, objective=objective)
    assert record.score is not None, record.reason
    return {"score": record.score["value"], "steps": len(record.steps), "peak": record.measured.peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part; default all")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--wall", action="store_true", help="wall time, for more than one thread; nothing is stored")
    parser.add_argument("--page", action="store_true", help="only write the page from what is stored")
    given = parser.parse_args()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def keep(part: str, name: str, found: Any) -> None:
        stored.setdefault(part, {})[name] = found
        if not given.wall:
            stored.update(host=environment(), when=now())
            RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
        print(part, name, found, flush=True)

    parts = () if given.page else ("time",) if given.wall else (given.part,) if given.part else PARTS
    if "time" in parts:
        clock = time.perf_counter if given.wall else time.process_time
        for case in CASES:
            name = f"{case[0]} {case[1]}x{case[2]}"
            if given.only in name:
                runs, size = variants(*case)
                best = measured(runs, given.repeats, clock)
                keep("time", name, {"seconds": best, "bytes": size, "repeats": given.repeats})
    if "noise" in parts:
        for case in KEPT:
            name = f"{case[0]} {case[1]}x{case[2]}"
            if given.only in name:
                keep("noise", name, [one.row() for one in kept_noise(Case("tokens", case[0], "mezo", *case[1:]))])
    if "answers" in parts:
        for objective in ("", "loss", "error"):
            for seed in SEEDS:
                keep("answers", f"{objective}|{seed}", answered(objective, seed))
    if not given.wall:
        report.write(stored)


if __name__ == "__main__":
    main()
