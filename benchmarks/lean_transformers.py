"""Slices of channels (S2FT) and chosen tensors (GreenTrainer) beside adapters, on real models; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/lean_transformers.py [--part PART] [--model MODEL] [--stored] [--page]

Parts are ``exact``, ``bytes``, ``target`` and ``trained``. Trainings come from the run store where they are there, so
the last part can be run in pieces; ``--stored`` trains nothing, ``--page`` only writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lean_transformers_page as report
import torch
from asked_parts import arguments
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.bench import Bench
from workbench.case import Case
from workbench.core.seeds import derive
from workbench.core.spelling import parsed_way
from workbench.environment import environment, now
from workbench.memory.measure import measure
from workbench.models.sliced_adapter import plain_state, put_on_plain
from workbench.records.schema import RunRecord
from workbench.studies.lean_transformers import Arms, arms, kept_and_computed, trained
from workbench.studies.operations import spent
from workbench.tasks.classification import evaluating

RESULTS = Path(__file__).resolve().parent / "results" / "lean_transformers.json"
PARTS = ("exact", "bytes", "target", "trained")
SEEDS = (0, 1, 2)


class Setting(NamedTuple):
    """A task, a model and its shapes; ``rhos`` are targets that a step of the model can meet."""

    task: str
    held_out: str
    batch: int
    length: int | None
    train: int
    test: int
    epochs: float
    rhos: tuple[float, ...]
    budget: str = "1GiB"


SETTINGS = {
    "minilm": Setting("movie-sentiment", "newsgroups", 16, None, 800, 500, 2, (0.36, 0.5, 0.7)),
    "smollm2": Setting("function-calling", "python-code", 2, 128, 40, 8, 1, (0.5, 0.6, 0.7), "4GiB"),
}


def main() -> None:
    asked = arguments(__doc__, PARTS, SETTINGS)
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    for model in asked.model if not asked.page else ():
        for part in asked.part:
            bench = opened(model)
            given = (bench, SETTINGS[model], asked.stored) if part == "trained" else (bench, SETTINGS[model])
            made = globals()[f"part_{part}"](*given)
            stored["models"].setdefault(model, {})[part] = made
            stored |= {"when": now(), "host": environment()}
            RESULTS.write_text(json.dumps(stored, indent=1, default=str) + "\n")
            print(f"{model} {part}: done", flush=True)
    report.write(stored)


def opened(model: str) -> Bench:
    one = SETTINGS[model]
    shape = {"batch": one.batch, "length": one.length, "train": one.train, "test": one.test, "epochs": one.epochs}
    return wb.open(one.task, model, budget=one.budget, held_out=one.held_out, **shape)


def part_exact(bench: Bench, _: Setting) -> list[dict[str, Any]]:
    """Logits before and after a co-permutation, and of a plain model with the adapter beside the tuned one."""
    rows = []
    for name, settings in {
        "channels": {"channels": 0.02},
        "heads and channels": {"heads": 0.1, "channels": 0.02},
        "all matrices": {"heads": 0.1, "channels": 0.02, "matrices": "q,k,v,o,up,gate,down"},
    }.items():
        case = Case(bench.task, bench.model, "s2ft", 2, 32, settings=settings)
        plain = case.spec.build(case.task.classes(case.spec), weights=True, seed=derive(0, "head"))
        tuned = case.attached()
        before = _logits(case, plain)
        moved = float((_logits(case, tuned) - before).abs().max() / before.abs().max())
        before = _logits(case, plain.double())
        exactly = float((_logits(case, tuned.double()) - before).abs().max() / before.abs().max())
        plain, tuned = plain.float(), tuned.float()  # every float32 is a float64, so nothing was rounded
        predicted, measured = case.predict().peak, measure(case.step(tuned), case.example()).peak
        state = case.method.adapter_state(tuned)
        put_on_plain(plain, state)
        wanted = plain_state(tuned)
        rows.append(
            {
                "what trains": name,
                "logits moved by the permutation": moved,
                "the same in float64": exactly,
                "plain model with the adapter is the tuned checkpoint": all(
                    torch.equal(t, wanted[n]) for n, t in plain.state_dict().items()
                ),
                "adapter": sum(t.numel() * t.element_size() for t in state.values()),
                "predicted": predicted,
                "measured": measured,
            }
        )
    return rows


def _logits(case: Case, model: Any) -> torch.Tensor:
    batch = {n: t for n, t in case.example()[0].items() if n != "labels"}
    with evaluating(model):
        return model(**batch).logits  # type: ignore[no-any-return]


def part_bytes(bench: Bench, one: Setting) -> list[dict[str, Any]]:
    """What a step of each way keeps and computes, and its measured peak."""
    made = arms(bench, rhos=one.rhos)
    rows = kept_and_computed(bench, [*made.slices[:3], *made.lazy])
    for row in rows:
        method, settings = parsed_way(row["way"])
        case = bench.case(method, **settings)
        row["predicted bytes"] = case.predict().peak
        row["measured bytes"] = measure(case.step(case.attached()), case.example()).peak
    return rows


def part_target(bench: Bench, one: Setting) -> list[dict[str, Any]]:
    """Operations of a step after a choice on a real batch, by torch's counter, against target and count."""
    from workbench.session import Session

    rows = []
    for rho in one.rhos:
        session = Session(bench.case("green-trainer", rho=rho), 0, None, bench.schedule, bench.sizes)
        session.prepare()
        step, batch = session.training, next(session._batches())
        step(batch, seed=0)
        with FlopCounterMode(display=False) as flops:
            step(batch, seed=1)
        choice = step.parts.estimator.choices[0]  # type: ignore[attr-defined]
        measured = flops.get_total_flops()
        rows.append(
            {
                "rho": rho,
                "counted": choice.share,
                "measured": measured / choice.full,
                "off": measured - choice.forward - choice.cost,
                "tensors": f"{sum(choice.chosen)} of {len(choice.chosen)}",
                "choosing": choice.selecting / choice.full,
            }
        )
    return rows


def part_trained(bench: Bench, one: Setting, stored: bool) -> list[dict[str, Any]]:
    """Every arm with every seed: score, what was forgotten, operations, peaks."""
    made: Arms = arms(bench, rhos=[rho for rho in one.rhos if rho >= 0.5][:1])
    ways = list(dict.fromkeys((*made.slices, *made.tensors)))
    records = _stored(bench, ways) if stored else trained(bench, ways, SEEDS)
    work = spent(records)
    return [
        {
            "method": r.method,
            "settings": {
                k: r.config[k] for k in ("lr", "r", "channels", "rho", "select", "spare", "compute") if k in r.config
            },
            "seed": r.seed,
            "state": r.state.value,
            "score": r.score,
            "held_out": r.held_out,
            "trained": r.trainable,
            "adapter": r.adapter_bytes,
            "predicted": r.predicted.peak if r.predicted else None,
            "measured": r.measured.peak if r.measured else None,
            "highest": max((s.peak for s in r.steps if s.peak is not None), default=None),
            "median": sorted(s.peak or 0 for s in r.steps)[len(r.steps) // 2] if r.steps else None,
            "training": work[r.id].training if r.id in work else None,
            "choosing": work[r.id].choosing if r.id in work else None,
            "full": work[r.id].full if r.id in work else None,
        }
        for r in records
    ]


def _stored(bench: Bench, ways: Sequence[str]) -> list[RunRecord]:
    """Runs that are in the store."""
    found = []
    for way in ways:
        method, settings = parsed_way(way)
        for seed in SEEDS:
            record = bench.store.finished(bench.cell(bench.case(method, **settings), seed).key())
            found += [] if record is None else [record]
    return found


if __name__ == "__main__":
    main()
