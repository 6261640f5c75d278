"""MobileTL on inverted residuals and SlimFit on transformers, beside what is easy, on real models; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/lean_backward.py [--part PART] [--model MODEL] [--page]

Parts are ``blocks``, ``cosines`` and ``activations`` (MobileTL), ``packing``, ``static`` and ``scores`` (SlimFit),
``predicted``, ``bytes``, ``norms``, ``rates`` (learning rates of every arm by training examples set aside, on a seed
that no result uses) and ``trained``.
Trainings that are in the run store are not repeated, so the last part can be stopped and taken up; ``--stored`` trains
nothing, ``--page`` only writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lean_backward_page as report
import torch
from asked_parts import arguments

import workbench as wb
from workbench import figures
from workbench.bench import Bench
from workbench.case import Case
from workbench.core.spelling import parsed_way
from workbench.environment import environment, now
from workbench.figures.mpl import to_svg
from workbench.lens.kept_by_block import kept_by_block
from workbench.memory.measure import measure
from workbench.nn.deterministic import stay_evaluating
from workbench.records.schema import RunRecord
from workbench.session import Session
from workbench.studies.factory import factory_model
from workbench.studies.lean_backward import FROZEN, Arms, convolution_arms, slimfit_ways, transformer_arms
from workbench.studies.lean_transformers import kept_and_computed, trained
from workbench.testing import Subject

RESULTS = Path(__file__).resolve().parent / "results" / "lean_backward.json"
SEEDS = (0, 1, 2)
FACTORY_NET = "mcu-net"
TUNING_SEED = 3
RATES_SMALL = (0.001, 0.003, 0.01, 0.03, 0.1)  #: of small nets
VALIDATION = 200  #: further training examples that rates are chosen by
#: Rates that each way tries, by the way or by its method; without one, those of all.
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "efficientnet-lite0": {"": (0.001, 0.003, 0.01, 0.03), "head": (0.003, 0.01, 0.03, 0.1)},
    "minilm": {
        "full": (3e-5, 1e-4, 3e-4), "lora": (1e-3, 3e-3, 1e-2), "s2ft": (1.5e-3, 5e-3, 1.5e-2),
        "green-trainer": (3e-4, 1e-3, 3e-3), "bias": (5e-4, 2e-3, 1e-2), "last-blocks": (1e-4, 3e-4, 1e-3),
        "slimfit": (1e-4, 3e-4, 1e-3),
    },
    "mcu-net": {
        "": (0.001, 0.003, 0.01, 0.03), "head": (0.003, 0.01, 0.03, 0.1), "int8-training": (0.01, 0.03, 0.1, 0.3),
    },
    "tiny-vit": {"": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), "slimfit": (0.0003, 0.001, 0.003, 0.01)},
}  # fmt: skip


class Setting(NamedTuple):
    """A task, a model and its shapes; ``parts`` are those that make sense of it."""

    task: str
    length: int | None
    train: int
    test: int
    parts: tuple[str, ...]
    batch: int = 16
    epochs: float = 1


_TRANSFORMER = ("packing", "static", "predicted", "bytes", "rates", "trained", "scores")
SETTINGS = {
    "efficientnet-lite0": Setting(
        "fashion-mnist",
        64,
        480,
        500,
        ("blocks", "cosines", "activations", "predicted", "bytes", "rates", "trained", "norms"),
    ),
    "mcu-net": Setting("fashion-mnist", None, 960, 500, ("predicted", "bytes", "rates", "trained")),
    "minilm": Setting("movie-sentiment", 32, 400, 400, _TRANSFORMER),
    "tiny-vit": Setting("digits", 16, 1000, 300, _TRANSFORMER, epochs=3),
}
PARTS = (
    "blocks", "cosines", "activations", "packing", "static", "predicted", "bytes", "rates", "trained", "norms",
    "scores",
)  # fmt: skip
TRAINING = ("rates", "trained", "activations", "scores")  #: parts that train, or read the store alone


def main() -> None:
    asked = arguments(__doc__, PARTS, SETTINGS)
    for model in asked.model if not asked.page else ():
        bench = opened(model)
        for part in (p for p in asked.part if p in SETTINGS[model].parts):
            given = {"stored": asked.stored} if part in TRAINING else {}
            if part in ("rates", "trained") and asked.method:
                given |= {"methods": asked.method, "known": results()["models"].get(model, {}).get(part, [])}
            made = globals()[f"part_{part}"](bench, **given)
            stored = results()  # read anew: another part may have ended meanwhile
            stored["models"].setdefault(model, {})[part] = made
            stored |= {"when": now(), "host": environment()}
            RESULTS.write_text(json.dumps(stored, indent=1, default=str) + "\n")
            print(f"{model} {part}: done", flush=True)
    report.write(results())


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    return found


def opened(model: str) -> Bench:
    """The bench of one section; the microcontroller's net leaves a factory where it has learned digits."""
    one = SETTINGS[model]
    if model == FACTORY_NET:
        school = wb.open("digits", model, budget="4GiB", batch=32, train=1000, test=300)
        model = factory_model(school, epochs=4)
    shape = {"batch": one.batch, "length": one.length, "train": one.train, "test": one.test, "epochs": one.epochs}
    return wb.open(one.task, model, budget="4GiB", **shape)


def section(bench: Bench) -> str:
    """The name of the bench's model on the page."""
    return bench.model if bench.model in SETTINGS else FACTORY_NET


def arms(bench: Bench) -> Arms:
    convolutional = section(bench) in ("efficientnet-lite0", FACTORY_NET)
    return convolution_arms(bench) if convolutional else transformer_arms(bench, FROZEN)


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
                rows.append(row | {"score": record.score["value"], "kept": record.measured.saved})  # type: ignore[union-attr]
    return rows


def part_scores(bench: Bench, stored: bool) -> dict[str, Any]:
    """How far each layer moved along a run of SlimFit, drawn; which moved most at the end, and how many had a turn."""
    (record,) = (_stored if stored else trained)(bench, [slimfit_ways(bench, (0.9,))[0]], SEEDS[:1])
    info = figures.dynamics([record])
    drawn = to_svg(info).replace("currentColor", "#7D8590")
    (report.PAGE.parent / f"lean-backward-{bench.model}.svg").write_text(drawn)
    moved = {layer: line[-1] for layer, line in zip(info.layers, info.logarithms) if line[-1] is not None}
    order = sorted(moved, key=moved.__getitem__)
    return {
        "arm": info.arm, "steps": len(record.steps), "layers": len(info.layers), "model": bench.model, "alt": info.alt,
        "most": order[-3:][::-1], "least": order[:3], "spread": moved[order[-1]] - moved[order[0]],
    }  # fmt: skip


def part_norms(bench: Bench) -> list[dict[str, Any]]:
    """Score of ways that move every norm, as they were trained, and with all statistics held still: at the same rate,
    and, as nothing is normalised then, GreenTrainer at smaller ones."""
    known, rows = results()["models"][bench.model]["trained"], []
    for way in (w for w in arms(bench).trained if w.startswith(("full", "green-trainer"))):
        method, settings = parsed_way(way)
        told = _told(bench.case(method, **settings).config.model_dump())
        same = {r["seed"]: r["score"] for r in known if (r["method"], r["settings"]) == (method, told)}
        rows += [{"way": way, "seed": seed, "statistics": "moving", "score": score} for seed, score in same.items()]
        smaller = (0.0003, 0.001) if way.startswith("green-trainer") and "select" not in way else ()
        for rate in (*smaller, settings["lr"]):
            for seed in same:
                score = _held_still(bench, method, {**settings, "lr": rate}, seed)
                rows.append({"way": way, "seed": seed, "statistics": f"{rate:g}", "score": score})
                print(rows[-1], flush=True)
    return rows


def _held_still(bench: Bench, method: str, settings: dict[str, Any], seed: int) -> float:
    session = Session(bench.case(method, **settings), seed, None, bench.schedule, bench.sizes)
    session.prepare()
    for module in session.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            stay_evaluating(module)
    for _ in session.steps():
        pass
    return session.score().value


def part_predicted(bench: Bench) -> list[dict[str, Any]]:
    """What a step of every arm keeps and computes, lazy ones last; nothing is run."""
    made = arms(bench)
    return kept_and_computed(bench, [w for w in (*made.trained, *made.lazy) if _served(bench, w)])


def _served(bench: Bench, way: str) -> bool:
    method, settings = parsed_way(way)
    return bench.case(method, **settings).refusal() is None


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
    find, grids, rows = _stored if stored else trained, RATES[section(bench)], []
    for way in rated(bench):
        method, *rest = way.split()
        if methods and not {method, way} & set(methods):
            rows += [row for row in known if row["way"] == way]
            continue
        for rate in next(grids[name] for name in (way, method, "") if name in grids):
            for record in find(more, [" ".join([method, f"lr={rate:g}", *rest])], (TUNING_SEED,)):
                rows.append({"way": way, "rate": rate, "score": record.score.get("value")})
                print(rows[-1], flush=True)
    return rows


def rated(bench: Bench) -> list[str]:
    """Ways whose rate is chosen: all but recomputing, which is full tuning."""
    plain = (" ".join(w for w in way.split() if not w.startswith("lr=")) for way in arms(bench).trained)
    return [way for way in dict.fromkeys(plain) if not way.startswith("checkpointing")]


def part_trained(
    bench: Bench, stored: bool, methods: Sequence[str] = (), known: Sequence[Mapping[str, Any]] = ()
) -> list[Mapping[str, Any]]:
    """Every arm with every seed; a way that was refused stands with its reason. Only ``methods`` (or ways without their
    rate) are trained where some are named, the others are as they are ``known``."""
    find, rows = _stored if stored else trained, []
    for way in arms(bench).trained:
        method, settings = parsed_way(way)
        told = _told(bench.case(method, **settings).config.model_dump())
        names = {method, " ".join(w for w in way.split() if not w.startswith("lr="))}
        old = [] if names & set(methods) else [r for r in known if (r["method"], r["settings"]) == (method, told)]
        rows += old or [_row(r, bench) for r in find(bench, [way], SEEDS)]
    return rows


def _stored(bench: Bench, ways: Sequence[str], seeds: Sequence[int]) -> list[RunRecord]:
    """Runs that are in the store."""
    found = []
    for method, settings in map(parsed_way, ways):
        points = bench.grid({"method": [method], "seed": list(seeds), **{k: [v] for k, v in settings.items()}})
        found += [p.record for p in points if p.record is not None]
    return found


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("lr", "r", "channels", "rho", "select", "frozen", "blocks")
    found = {k: config[k] for k in keys if k in config}
    return found | {k: v for k, v in config.items() if (k, v) == ("statistics", "moving")}


def _row(record: RunRecord, bench: Bench) -> Mapping[str, Any]:
    return {
        "method": record.method,
        "settings": _told(record.config),
        "seed": record.seed,
        "state": record.state.value,
        "reason": record.reason.replace(bench.model, section(bench)),
        "score": record.score.get("value"),
        "steps": len(record.steps),
        "kept": record.measured.saved if record.measured else None,
        "predicted": record.predicted.peak if record.predicted else None,
        "measured": record.measured.peak if record.measured else None,
        "highest": max((s.peak for s in record.steps if s.peak is not None), default=None),
        "seconds": record.step_time.value if record.step_time else None,
    }


if __name__ == "__main__":
    main()
