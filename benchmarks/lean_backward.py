"""MobileTL on inverted residuals and SlimFit on transformers, beside what is easy, on real models; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/lean_backward.py [--part PART] [--model MODEL] [--page]

Parts are ``blocks``, ``cosines`` and ``activations`` (MobileTL), ``packing``, ``static`` and ``scores`` (SlimFit),
``predicted``, ``peaks``, ``bytes``, ``norms``, ``rates`` (learning rates of every arm by training examples set aside,
on a seed that no result uses), ``trained`` and ``operations`` (what GreenTrainer's choosing took, LoRA at as many).
Trainings in the run store are not repeated, so a part can be stopped and taken up; ``--stored`` trains
nothing, ``--page`` only writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lean_backward_page as report
import torch
from asked_parts import arguments
from lean_backward_norms import part_norms
from lean_backward_operations import part_operations
from lean_backward_settings import (
    RATES,
    RESULTS,
    SEEDS,
    SETTINGS,
    TUNING_SEED,
    VALIDATION,
    arms,
    opened,
    rated,
    results,
    row,
    section,
    stored_runs,
    told,
)  # fmt: skip

import workbench as wb
from workbench import figures
from workbench.bench import Bench
from workbench.case import Case
from workbench.core.spelling import parsed_way
from workbench.environment import environment, now
from workbench.lens.kept_by_block import kept_by_block
from workbench.memory.measure import measure
from workbench.studies.factory import factory_model
from workbench.studies.lean_backward import FROZEN, slimfit_ways
from workbench.studies.lean_transformers import kept_and_computed, trained
from workbench.testing import Subject

RATES_SMALL = (0.001, 0.003, 0.01, 0.03, 0.1)  #: of small nets
TRAINING = ("rates", "trained", "operations", "activations", "scores")  #: parts that train, or read the store alone


def main() -> None:
    asked = arguments(__doc__, _PARTS, SETTINGS)
    for model in asked.model if not asked.page else ():
        bench = opened(model)
        for part in (p for p in asked.part if p in SETTINGS[model].parts):
            given = {"stored": asked.stored} if part in TRAINING else {}
            if part in ("rates", "trained") and asked.method:
                given |= {"methods": asked.method, "known": results()["models"].get(model, {}).get(part, [])}
            made = _PARTS[part](bench, **given)
            stored = results()  # read anew: another part may have ended meanwhile
            stored["models"].setdefault(model, {})[part] = made
            stored.setdefault("dates", {}).setdefault(model, {})[part] = now()
            stored["host"] = environment()
            RESULTS.write_text(json.dumps(stored, indent=1, default=str) + "\n")
            print(f"{model} {part}: done", flush=True)
    report.write(results())


def part_blocks(bench: Bench) -> list[dict[str, Any]]:
    """What each block keeps: by torch, by a leaner framework, by MobileTL."""
    return [vars(row) for row in kept_by_block(bench.case("full"))]


def part_cosines(bench: Bench) -> list[dict[str, Any]]:
    """Cosine of MobileTL's gradient with torch's for every tensor, with ReLU6 and with hard-swish, on a small net."""
    rows = []
    for model in ("tiny-cnn", "tiny-hardswish"):
        lean, exact = (_gradients(model, compute) for compute in ("lean", "requires-grad"))
        for name, found in lean.items():
            cosine = torch.cosine_similarity(found.flatten(), exact[name].flatten(), 0)
            rows.append({"model": model, "tensor": name, "cosine": float(cosine), "norm": float(exact[name].norm())})
    return rows


def _gradients(model: str, compute: str) -> dict[str, torch.Tensor]:
    """In float64 on a net that has trained for some steps, so that its norms have seen data."""
    subject = Subject("mobile-tl", model, {"blocks": 4, "compute": compute})
    trained_net = Subject("full", model).attached()
    Subject("full", model).trained(trained_net, 30)
    made = subject.attached()
    made.load_state_dict(trained_net.state_dict())
    made.double()
    batch = {n: t.double() if t.is_floating_point() else t for n, t in subject.examples()[0].items()}
    made(**batch).loss.backward()
    return {n: p.grad for n, p in made.named_parameters() if p.grad is not None}


def part_activations(_: Bench, stored: bool) -> list[dict[str, Any]]:
    """ReLU6 and hard-swish, each with one bit and with torch's own derivative, on small nets that leave a factory.

    Each at the best of its own rates by examples set aside; all blocks but the first train.
    """
    rows = []
    for model in ("tiny-cnn", "tiny-hardswish"):
        name = factory_model(wb.open("digits", model, budget="4GiB", batch=32, train=1000, test=300), epochs=10)
        bench = wb.open("fashion-mnist", name, budget="4GiB", batch=16, train=1200, test=1000, epochs=1)
        for compute in ("lean", "requires-grad"):
            settings = {"method": ["mobile-tl"], "blocks": [4], "compute": [compute]}
            chosen_by = bench.validating(VALIDATION)
            tried = {r: chosen_by.ablate({**settings, "seed": [TUNING_SEED], "lr": [r]})[0] for r in RATES_SMALL}
            rates = {r: record.score.get("value", 0.0) for r, record in tried.items()}
            lr = max(rates, key=rates.__getitem__)
            for record in bench.ablate({**settings, "seed": list(SEEDS), "lr": [lr]}):
                row = {"model": model, "compute": compute, "lr": lr, "rates": rates, "seed": record.seed}
                assert record.measured is not None
                rows.append(row | {"score": record.score["value"], "kept": record.measured.saved})
    return rows


def part_scores(bench: Bench, stored: bool) -> dict[str, Any]:
    """How far each layer moved along a run of SlimFit; which moved most at the end, and how many had a turn."""
    (record,) = (stored_runs if stored else trained)(bench, [slimfit_ways(bench, (0.9,))[0]], SEEDS[:1])
    info = figures.dynamics([record])
    moved = {layer: line[-1] for layer, line in zip(info.layers, info.logarithms) if line[-1] is not None}
    order = sorted(moved, key=moved.__getitem__)
    return {
        "arm": info.arm, "steps": len(record.steps), "layers": len(info.layers), "model": bench.model, "alt": info.alt,
        "names": info.layers, "watched": info.steps, "logarithms": info.logarithms,
        "most": order[-3:][::-1], "least": order[:3], "spread": moved[order[-1]] - moved[order[0]],
    }  # fmt: skip


def part_predicted(bench: Bench) -> list[dict[str, Any]]:
    """What a step of every arm keeps and computes, lazy ones last; nothing is run."""
    made = arms(bench)
    return kept_and_computed(bench, [w for w in (*made.trained, *made.lazy) if _served(bench, w)])


def _served(bench: Bench, way: str) -> bool:
    method, settings = parsed_way(way)
    return bench.case(method, **settings).refusal() is None


def part_peaks(bench: Bench) -> list[dict[str, Any]]:
    """Where the worst step of an arm is reached, predicted: phase, module, operator, and what is held there."""
    rows = []
    for way in (w for w in arms(bench).trained if _served(bench, w)):
        method, settings = parsed_way(way)
        found = bench.case(method, **settings).predict()
        held = {str(category): size for category, size in found.by_category.items()}
        where = {"phase": str(found.phase), "module": found.module, "operator": found.operator}
        rows.append({"way": way, **where, "held": held})
    return rows


def part_packing(bench: Bench) -> dict[str, Any]:
    """Relative error of the whole gradient that packing brings, at one moment, without dropout, all layers trained."""
    found = {}
    for packed in (False, True):
        case = bench.case("slimfit", frozen=0.0, packed=packed)
        model = case.attached().eval()
        case.task.loss(model, case.example()[0]).backward()
        found[packed] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        del model
    exact, lean = (torch.cat([g.flatten() for g in found[p].values()]) for p in (False, True))
    error, cosine = (lean - exact).norm() / exact.norm(), torch.cosine_similarity(lean, exact, 0)
    return {"relative error": float(error), "cosine": float(cosine)}


def part_static(bench: Bench) -> list[dict[str, Any]]:
    """What SlimFit keeps for backward with each share of frozen layers, packed and not, predicted: all of it, and what
    is left when nothing but the head and the biases train, which backward therefore reads whatever trains."""
    rows = []
    for packed in (False, True):
        least = bench.case("slimfit", frozen=0.99, select="last", packed=packed).predict().saved
        for share in FROZEN:
            kept = bench.case("slimfit", frozen=share, packed=packed).predict().saved
            rows.append({"packed": packed, "frozen": share, "static": least, "kept": kept})
    return rows


def part_bytes(bench: Bench) -> list[dict[str, Any]]:
    """Worst step of each lazy way, predicted and measured, and what it keeps; others stand with what they learned."""
    rows = []
    for way in arms(bench).lazy:
        method, settings = parsed_way(way)
        case: Case = bench.case(method, **settings)
        predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
        rows.append({"way": way, "predicted": predicted.peak, "measured": measured.peak, "kept": measured.saved})
    return rows


def part_rates(
    bench: Bench, stored: bool, methods: Sequence[str] = (), known: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Score of each way at each rate on examples set aside, on the tuning seed; ``methods`` and ``known`` as below."""
    assert bench.sizes.train is not None
    more = replace(bench, sizes=replace(bench.sizes, train=bench.sizes.train + VALIDATION)).validating(VALIDATION)
    find, grids, rows = stored_runs if stored else trained, RATES[section(bench)], []
    for way in rated(bench):
        method, *rest = way.split()
        if methods and not {method, way} & set(methods):
            rows += [one for one in known if one["way"] == way]
            continue
        for rate in next(grids[name] for name in (way, method, "") if name in grids):
            for record in find(more, [" ".join([method, f"lr={rate:g}", *rest])], (TUNING_SEED,)):
                rows.append({"way": way, "rate": rate, "score": record.score.get("value")})
                print(rows[-1], flush=True)
    return rows


def part_trained(
    bench: Bench, stored: bool, methods: Sequence[str] = (), known: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Every arm with every seed; a way that was refused stands with its reason. Only ``methods`` (or ways without their
    rate) are trained where some are named, the others are as they are ``known``."""
    find, rows = stored_runs if stored else trained, []
    for way in arms(bench).trained:
        method, settings = parsed_way(way)
        given = told(bench.case(method, **settings).config.model_dump())
        names = {method, " ".join(w for w in way.split() if not w.startswith("lr="))}
        old = [] if names & set(methods) else [r for r in known if (r["method"], r["settings"]) == (method, given)]
        rows += old or [row(r, bench) for r in find(bench, [way], SEEDS)]
    return rows


_PARTS: dict[str, Callable[..., Any]] = {
    "blocks": part_blocks, "cosines": part_cosines, "activations": part_activations, "packing": part_packing,
    "static": part_static, "predicted": part_predicted, "peaks": part_peaks, "bytes": part_bytes,
    "rates": part_rates,
    "trained": part_trained, "operations": part_operations, "norms": part_norms, "scores": part_scores,
}  # fmt: skip


if __name__ == "__main__":
    main()
