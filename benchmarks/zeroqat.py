"""Few bits by rounding, calibration, backpropagation and forwards alone, from one float start; writes docs/zeroqat.md.

    OMP_NUM_THREADS=1 python benchmarks/zeroqat.py [--only BENCH] [--fresh] [--page]

What is stored is not run again unless ``--fresh``. The float start of a bench is trained once, with seed 0; seeds of
the arms move the order of examples and the noise.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import zeroqat_page as report

import workbench as wb
from workbench.core.seeds import derive
from workbench.environment import environment, now
from workbench.lens.code_flips import code_flips
from workbench.studies.quantized_arms import ARMS, Outcome, float_model, outcome, predicted, quantized_session

RESULTS = Path(__file__).resolve().parent / "results" / "zeroqat.json"
EPS = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Bench:
    """A real task and model, widths, steps of each arm that trains, its rates.

    The first width has all ``arms`` and decides on rates; the others have the arms of ``fewer``, if there are such.
    ``start`` is how the float model was made: batch, training and held-back examples, steps, rate. Test examples are
    the first of one shuffle and those of an arm fewer than were held back, so no arm is tested on what the start saw.
    """

    task: str
    model: str
    batch: int
    train: int
    test: int
    start: tuple[int, int, int, int, float]
    bits: tuple[int, ...]
    steps: int
    rates: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...] = (0, 1, 2)
    length: int | None = None
    arms: tuple[str, ...] = tuple(ARMS)
    fewer: tuple[str, ...] = ()
    draws: int = 4
    more: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Any:
        return wb.open(
            self.task, self.model, budget="64 GiB", batch=self.batch, train=self.train, test=self.test,
            length=self.length,
        )  # fmt: skip


BACKPROP = "straight-through QAT"
LAZY = "lazy: rounded weights"
BENCHES = {
    "minilm": Bench(
        "movie-sentiment", "minilm", 8, 400, 128, (16, 800, 500, 100, 5e-5), (3, 2, 4, 8), 32,
        {"ZeroQAT": (3e-6, 1e-5), "ZeroQAT with transform": (3e-6,), "ZeroQAT light": (1e-5,),
         BACKPROP: (1e-5, 3e-5), LAZY: (3e-6,)}, draws=3,
        fewer=(*(name for name, arm in ARMS.items() if not arm.rates), "ZeroQAT", BACKPROP),
    ),
    "tiny-bert": Bench(
        "movie-sentiment", "tiny-bert", 16, 800, 400, (16, 800, 400, 80, 1e-3), (2,), 150,
        {"ZeroQAT": (1e-5, 5e-5), "ZeroQAT light": (1e-5, 5e-5), BACKPROP: (3e-4,), LAZY: (1e-5,)}, draws=8,
        more={"tuned": 1},
    ),
    "smollm2": Bench(
        "python-code", "smollm2", 1, 64, 16, (1, 64, 16, 0, 1e-5), (4,), 8,
        {"ZeroQAT light": (1e-6,), "ZeroQAT": (1e-6,), BACKPROP: (1e-5,)}, length=48, draws=2,
        arms=("round to nearest", "clip, then round", "light, not trained", "ZeroQAT light", "GPTQ", "ZeroQAT",
              BACKPROP),
    ),
}  # fmt: skip


def starts(name: str, bench: Bench) -> dict[str, torch.Tensor]:
    """The float weights, trained once and kept beside other caches."""
    from safetensors.torch import load_file, save_file

    from workbench.core import paths

    batch, train, test, steps, lr = bench.start
    opened = replace(bench, batch=batch, train=train, test=test).open()
    if not steps:
        return float_model(opened, 0, 0, lr)
    number = derive(0, json.dumps([opened.case("full", lr=lr).identity(), train, test, steps], sort_keys=True))
    file = paths.cache() / "float-starts" / f"{name}-{number:016x}.safetensors"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(float_model(opened, 0, steps, lr), file)
    return load_file(file)


def told(found: Outcome) -> dict[str, Any]:
    row = {k: v for k, v in asdict(found).items() if k != "profile"}
    if found.profile is not None:
        row |= {"peak": found.profile.peak, "saved": found.profile.saved}
        row["by_category"] = {str(k): v for k, v in found.profile.by_category.items()}
    return row


def flips(bench: Bench, start: Mapping[str, torch.Tensor], bits: int) -> list[dict[str, Any]]:
    opened = bench.open()
    found = []
    for scales in ("learned", "rounded"):
        session = quantized_session(opened, start, 0, 1, weight_bits=bits, scales=scales)
        case = session.case
        batch = next(case.task.batches(session.data, case.spec, case.batch, 0))
        found += [{"scales": scales, **asdict(f)} for f in code_flips(session.training, batch, EPS, bench.draws)]
    return found


def light(bench: Bench, name: str) -> dict[str, Any]:
    return (
        {"tuned_blocks": bench.more["tuned"]} if "tuned" in bench.more and "tuned_blocks" in ARMS[name].settings else {}
    )


def run(name: str, bench: Bench, stored: dict[str, Any], save: Any) -> None:
    start = starts(name, bench)
    opened = bench.open()
    stored.update(
        task=bench.task, batch=bench.batch, steps=bench.steps, test=bench.test, start=list(bench.start),
        length=bench.length, rates={k: list(v) for k, v in bench.rates.items()},
    )  # fmt: skip
    if "float" not in stored:
        found, _ = outcome(opened, "round to nearest", 16, 0, start, 1, 0.0, activation_bits=16)
        stored["float"] = {"score": found.score, "loss": found.loss}
        save()
    runs, losses = stored.setdefault("runs", {}), stored.setdefault("tried", {})
    for bits in bench.bits:
        first = bits == bench.bits[0]
        for arm in bench.arms if first or not bench.fewer else bench.fewer:
            rates = bench.rates.get(arm, (0.0,)) if ARMS[arm].rates else (0.0,)
            if not first and f"{arm}|{bench.bits[0]}" in losses:
                rates = (losses[f"{arm}|{bench.bits[0]}"]["chosen"],)
            if ARMS[arm].rates and arm not in bench.rates:
                continue
            for seed in bench.seeds if ARMS[arm].rates else bench.seeds[:1]:
                key = f"{arm}|{bits}|{seed}"
                if key in runs:
                    continue
                tried = {}
                for lr in rates if seed == bench.seeds[0] else (losses[f"{arm}|{bits}"]["chosen"],):
                    tried[lr] = outcome(opened, arm, bits, seed, start, bench.steps, lr, **light(bench, arm))
                lr = min(tried, key=lambda rate, t=tried: t[rate][1])  # type: ignore[misc]
                if seed == bench.seeds[0]:
                    losses[f"{arm}|{bits}"] = {"chosen": lr, "last": {str(k): v[1] for k, v in tried.items()}}
                runs[key] = told(predicted(opened, tried[lr][0], **light(bench, arm)))
                print(name, key, {k: runs[key][k] for k in ("lr", "score", "loss", "moved")}, flush=True)
                save()
                gc.collect()
        if str(bits) not in stored.setdefault("flips", {}):
            stored["flips"][str(bits)] = flips(bench, start, bits)
            save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=BENCHES)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--page", action="store_true", help="write the page from what is stored")
    asked = parser.parse_args()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"benches": {}}

    def save() -> None:
        latest = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"benches": {}}
        latest["benches"] |= {k: v for k, v in stored["benches"].items() if not asked.only or k == asked.only}
        latest |= {"host": environment(), "when": now()}
        RESULTS.write_text(json.dumps(latest, indent=1) + "\n")

    if not asked.page:
        for name, bench in BENCHES.items():
            if asked.only in (None, name):
                if asked.fresh:
                    stored["benches"].pop(name, None)
                run(name, bench, stored["benches"].setdefault(name, {}), save)
    report.write(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
