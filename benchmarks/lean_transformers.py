"""Slices of channels (S2FT) and chosen tensors (GreenTrainer) beside adapters, on real models; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/lean_transformers.py [--part PART] [--model MODEL] [--method METHOD] [--page]

Parts are ``exact``, ``bytes``, ``target`` and ``trained``. Trainings come from the run store where they are there, so
the last part can be run in pieces; ``--method`` trains that one alone and keeps what is known of others, ``--stored``
trains nothing, ``--page`` only writes the page. ``lazy`` are GreenTrainer's lazy arms: their operations and bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lean_transformers_page as report
import torch
from asked_parts import arguments
from lean_transformers_settings import PARTS, RATES, SEEDS, SETTINGS, TUNING_SEED, VALIDATION, Setting
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.bench import Bench
from workbench.case import Case
from workbench.core.seeds import derive
from workbench.core.spelling import parsed_way
from workbench.environment import environment, now
from workbench.memory.measure import measure
from workbench.models.sliced_adapter import plain_state, put_on_plain
from workbench.parts.estimator.adaptive import Choice
from workbench.records.schema import RunRecord
from workbench.studies.lean_transformers import Arms, arms, kept_and_computed, trained
from workbench.studies.operations import spent
from workbench.tasks.classification import evaluating

RESULTS = Path(__file__).resolve().parent / "results" / "lean_transformers.json"


def main() -> None:
    asked = arguments(__doc__, PARTS, SETTINGS)
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    for model in asked.model if not asked.page else ():
        for part in (p for p in asked.part if p in SETTINGS[model].parts):
            bench = opened(model)
            more: dict[str, Any] = {}
            if part in ("rates", "trained"):
                known = stored["models"].get(model, {}).get(part, []) if asked.method else []
                more = {"stored": asked.stored, "methods": asked.method or (), "known": known}
            if part == "trained":
                more["rates"] = stored["models"].get(model, {}).get("rates", [])
            made = globals()[f"part_{part}"](bench, SETTINGS[model], **more)
            stored["models"].setdefault(model, {})[part] = made
            stored |= {"when": now(), "host": environment()}
            RESULTS.write_text(json.dumps(stored, indent=1, default=str) + "\n")
            print(f"{model} {part}: done", flush=True)
    report.write(stored)


def opened(model: str) -> Bench:
    one = SETTINGS[model]
    shape = {"batch": one.batch, "length": one.length, "train": one.train, "test": one.test, "epochs": one.epochs}
    return wb.open(one.task, model.removesuffix("-rated"), budget=one.budget, held_out=one.held_out, **shape)


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


def _after_choice(bench: Bench, case: Case) -> tuple[Choice, int]:
    """What ``case`` chose on a real batch, and the operations of the step after it, by torch's counter."""
    from workbench.session import Session

    session = Session(case, 0, None, bench.schedule, bench.sizes)
    session.prepare()
    step, batch = session.training, next(session._batches())
    step(batch, seed=0)
    with FlopCounterMode(display=False) as flops:
        step(batch, seed=1)
    return step.parts.estimator.choices[0], flops.get_total_flops()  # type: ignore[attr-defined]


def part_target(bench: Bench, one: Setting) -> list[dict[str, Any]]:
    """Operations of a step after a choice against target and count."""
    rows = []
    for rho in one.rhos:
        choice, measured = _after_choice(bench, bench.case("green-trainer", rho=rho))
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


def part_lazy(bench: Bench, one: Setting) -> list[dict[str, Any]]:
    """GreenTrainer at the first target that is trained, and its lazy arms: operations of a step after a choice, and
    bytes of the worst step, predicted and measured."""
    rows = []
    for lazy in ({}, {"costs": "own"}, {"gradients": "all"}):
        case = bench.case("green-trainer", rho=_first(one), **lazy)
        predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
        choice, operations = _after_choice(bench, case)
        rows.append(
            {
                "arm": " ".join(f"{k}={v}" for k, v in lazy.items()),
                "rho": _first(one),
                "operations": operations / choice.full,
                "kept": measured.saved,
                "gradients": dict(predicted.by_category).get("gradients", 0),
                "predicted": predicted.peak,
                "measured": measured.peak,
            }
        )
    return rows


def _first(one: Setting) -> float:
    """The target that is trained: the first one of half of full tuning's operations or more."""
    return next(rho for rho in one.rhos if rho >= 0.5)


def part_rates(
    bench: Bench, one: Setting, stored: bool, methods: Sequence[str] = (), known: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Score at each rate on training examples set aside, on a seed that no result uses; ``methods`` as below."""
    assert bench.sizes.train is not None
    grids = RATES[f"{bench.model}-rated"]
    sizes = replace(bench.sizes, train=bench.sizes.train + VALIDATION)
    more = replace(bench, sizes=sizes, held_out="").validating(VALIDATION)
    ways, rows = _plain(arms(bench, rhos=[_first(one)])), [row for row in known if row["method"] not in methods]
    for method in (m for m in grids if not methods or m in methods):
        for rate in grids[method]:
            way = _at(rate, ways[method])
            for r in _stored(more, [way], (TUNING_SEED,)) if stored else trained(more, [way], (TUNING_SEED,)):
                rows.append({"method": method, "rate": rate, "score": r.score.get("value"), "count": VALIDATION})
                print(rows[-1], flush=True)
    return rows


def _plain(made: Arms) -> dict[str, str]:
    """The first way of each method."""
    return {way.split()[0]: way for way in reversed((*made.slices, *made.tensors))}


def _at(rate: float, way: str) -> str:
    return " ".join(f"lr={rate:g}" if word.startswith("lr=") else word for word in way.split())


def _rated(made: Arms, rates: Sequence[Mapping[str, Any]]) -> list[str]:
    """The plain way of each method that has ``rates``, at the best of them; the lowest of equally good ones."""
    order = sorted(rates, key=lambda row: (-row["score"], row["rate"]))
    best = {row["method"]: row["rate"] for row in reversed(order)}
    return [_at(best[method], way) for method, way in _plain(made).items() if method in best]


def part_trained(
    bench: Bench,
    one: Setting,
    stored: bool,
    methods: Sequence[str] = (),
    known: Sequence[Mapping[str, Any]] = (),
    rates: Sequence[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """Every arm with every seed: score, what was forgotten, operations, peaks. Only ``methods`` are trained where some
    are named (a name may bring its way of selecting, ``green-trainer select=importance``), others are as ``known``.
    With ``rates`` tried on this model, only what has some."""
    made: Arms = arms(bench, rhos=[_first(one)])
    rows: list[Mapping[str, Any]] = []
    for way in _rated(made, rates) if rates else dict.fromkeys((*made.slices, *made.tensors)):
        method, settings = parsed_way(way)
        told = _told(bench.case(method, **settings).config.model_dump())
        names = (method, f"{method} select={told.get('select')}")
        if methods and not set(names) & set(methods):
            rows += [r for r in known if (r["method"], r["settings"]) == (method, told)]
            continue
        records = _stored(bench, [way], SEEDS) if stored else trained(bench, [way], SEEDS)
        work = spent(records)
        rows += [_row(r, work.get(r.id)) for r in records]
    return rows


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that tell arms apart. What importance leaves unspent is filled by importance alone."""
    keys = ("lr", "r", "channels", "rho", "select", "compute")
    found = {k: config[k] for k in keys if k in config}
    return found | ({"spare": config["spare"]} if config.get("select") == "importance" else {})


def _row(r: RunRecord, work: Any) -> dict[str, Any]:
    return {
        "method": r.method,
        "settings": _told(r.config),
        "seed": r.seed,
        "state": r.state.value,
        "score": r.score,
        "held_out": r.held_out,
        "trained": r.trainable,
        "adapter": r.adapter_bytes,
        "predicted": r.predicted.peak if r.predicted else None,
        "measured": r.measured.peak if r.measured else None,
        "kept": r.measured.saved if r.measured else None,
        "highest": max((s.peak for s in r.steps if s.peak is not None), default=None),
        "median": sorted(s.peak or 0 for s in r.steps)[len(r.steps) // 2] if r.steps else None,
        "seconds": r.step_time.value if r.step_time else None,
        "training": work.training if work else None,
        "choosing": work.choosing if work else None,
        "full": work.full if work else None,
    }


def _stored(bench: Bench, ways: Sequence[str], seeds: Sequence[int]) -> list[RunRecord]:
    """Runs that are in the store."""
    found = []
    for way in ways:
        method, settings = parsed_way(way)
        for seed in seeds:
            record = bench.store.finished(bench.cell(bench.case(method, **settings), seed).key())
            found += [] if record is None else [record]
    return found


if __name__ == "__main__":
    main()
