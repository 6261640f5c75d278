"""Predicted against measured peak of every shipped model, method and optimizer at three shapes, in bytes.

    OMP_NUM_THREADS=1 python benchmarks/exactness.py --models tiny --optimizers adamw,sgd,momentum,adamw8bit
    OMP_NUM_THREADS=1 python benchmarks/exactness.py --models tiny --levers

Every case is predicted afresh (probe tier; of transformers with AdamW the fake tier as well) and then measured on
random weights in the same process. With ``--together`` rules and shapes of one method are measured on one model, built
once; a case that is not exact there is measured again on a model of its own. Finished cases are kept in a log of JSON
lines and skipped, as are published ones, when the same command runs again; a case that changed is asked for with
``--again``. As rows are of many days, ``--draw N`` runs N of them, drawn at random, once more and says on the page how
many still have the published bytes. The page in the documentation and its compact JSON are written from the log.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exactness_cases import SHAPES, TINY, Asked, asked
from exactness_page import TRANSFORMERS, page, summary
from torch import nn

from workbench.case import Case
from workbench.core.errors import Incompatible, PintpotError
from workbench.core.profile import MemoryProfile, Tier
from workbench.methods import _levers as levers
from workbench.methods.base import methods
from workbench.parts.estimator.backprop import Backprop
from workbench.parts.optimizer import names as optimizer_rules

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LOG = ROOT / "runs" / "exactness.jsonl"

#: Bytes; a case that is predicted to need more is not measured, and the page says so.
ROOM = 8 * 2**30
LARGE = "subspace_gradient"  #: the rule whose state is 256 times what is trained


class Together:
    """The model of the last case, for the next one of the same method where its parts leave nothing in it."""

    def __init__(self) -> None:
        self._of: tuple[str, ...] = ()
        self._model: nn.Module | None = None

    def model(self, one: Asked, case: Case) -> tuple[nn.Module, bool]:
        """A model for the case, and whether it has served another one."""
        parts = levers.applied(case.method.parts(case.attached_config), case.attached_config)
        of = (one.model, one.method, one.lever) if type(parts.estimator) is Backprop else ()
        if of and of == self._of and self._model is not None:
            self._model.zero_grad()
            self._model.pintpot_parts = parts  # type: ignore[assignment]
            return self._model, True
        self._model, self._of = None, of
        self._model = case.attached(weights=False)
        return self._model, False


def compare(one: Asked, together: Together | None = None) -> dict[str, Any] | None:
    """Predicted and measured bytes of one case; ``None`` when method or lever does not serve the model."""
    import torch

    from workbench.memory.measure import measure

    row: dict[str, Any] = {"key": one.key, **one._asdict()}
    start = time.process_time()
    try:
        if not one.served():
            return None
        case = one.case()
        if one.optimizer == LARGE and case.predict(Tier.FAKE, fresh=True).peak > ROOM:  # probing would take long
            return {**row, "too large": case.predict(Tier.FAKE).peak}
        predicted = case.predict(fresh=True)
        row["predict seconds"] = round(time.process_time() - start, 3)
        if predicted.peak > ROOM:
            return {**row, "too large": predicted.peak}
        if one.optimizer == "adamw" and one.model in TRANSFORMERS:
            row["fake"] = case.predict(Tier.FAKE, fresh=True).peak
            row["formula"] = case.predict(Tier.FORMULA, fresh=True).peak
    except Incompatible as error:
        return {**row, "refused": str(error)} if error.field == "prediction" else None
    torch.manual_seed(0)
    model, served = together.model(one, case) if together else (case.attached(weights=False), False)
    measured = measure(case.step(model), case.example())
    if served and (measured.peak, differences(predicted, measured)) != (predicted.peak, {}):
        measured = measure(case.step(case.attached(weights=False)), case.example())
    differing = differences(predicted, measured)
    row |= {"predicted": predicted.peak, "measured": measured.peak, "difference": predicted.peak - measured.peak}
    row |= {"by category": differing, "source": [str(predicted.source), str(measured.source)]}
    if predicted.peak != measured.peak:
        row["at"] = [f"{p.phase} {p.operator} {p.module}" for p in (predicted, measured)]
    return row


def differences(predicted: MemoryProfile, measured: MemoryProfile) -> dict[str, int]:
    """Predicted minus measured bytes of each category that differs."""
    pairs = {str(c): predicted.by_category.get(c, 0) - size for c, size in measured.by_category.items()}
    return {category: off for category, off in pairs.items() if off}


def without_probe(log: Path) -> None:
    """Ask the two tiers that execute nothing anew for every row that has them; its other numbers stand."""
    for row in published().values():
        if not row.get("fake"):
            continue
        case = Asked(*(row[name] for name in Asked._fields)).case()
        row |= {str(t.name).lower(): case.predict(t, fresh=True).peak for t in (Tier.FAKE, Tier.FORMULA)}
        with log.open("a") as out:
            out.write(json.dumps(row) + "\n")


def run(chosen: list[Asked], log: Path, again: bool, together: Together | None = None) -> None:
    """Append a line for every case not yet in the log."""
    done = set() if again else set(read(log))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        for one in chosen:
            if one.key in done:
                continue
            try:
                row = compare(one, together)
            except (PintpotError, RuntimeError, ValueError, TypeError, AssertionError) as error:
                row = {"key": one.key, **one._asdict(), "failed": f"{type(error).__name__}: {str(error)[:300]}"}
            row = row or {"key": one.key, **one._asdict(), "not served": True}
            out.write(json.dumps(row) + "\n")
            out.flush()
            if row.get("difference") or "failed" in row or "refused" in row:
                print(one.key, f"  <- {row}", flush=True)


def draw_again(count: int, seed: int, log: Path) -> dict[str, Any]:
    """Run so many published cases once more, each on a model of its own, and say what became of their bytes."""
    known = {key: row for key, row in published().items() if "difference" in row}
    keys = random.Random(seed).sample(sorted(known), min(count, len(known)))
    run([Asked(*(known[key][name] for name in Asked._fields)) for key in keys], log, again=True)
    fresh = read(log)
    now = {key: [fresh[key].get("predicted"), fresh[key].get("measured")] for key in keys}
    before = {key: [known[key]["predicted"], known[key]["measured"]] for key in keys}
    return {
        "date": time.strftime("%Y-%m-%d"), "seed": seed, "of": len(known), "cases": len(keys),
        "exact": sum(predicted == measured for predicted, measured in now.values()),
        "other bytes": {key: [*before[key], *now[key]] for key in keys if now[key] != before[key]},
    }  # fmt: skip


def read(log: Path) -> dict[str, dict[str, Any]]:
    """The latest line of each case, or its published row where this checkout's log has none."""
    try:
        lines = log.read_text().splitlines()
    except OSError:
        lines = []
    return published() | {row["key"]: row for row in map(json.loads, lines)}


def published() -> dict[str, dict[str, Any]]:
    """Rows of the compact JSON. Those whose categories differed are left out, so that they run again."""
    try:
        found = json.loads((RESULTS / "exactness.json").read_text())
    except OSError:
        return {}
    off = {*(row["key"] for row in found["summary"]["not exact"]), *found["summary"].get("categories differ", ())}
    rows = {key: {"key": key, "not served": True} for key in found.get("not served", ())}
    rows |= {row["key"]: row for row in found["summary"].get("too large", ())}
    for values in found["rows"]:
        row = dict(zip(found["columns"], values, strict=True))
        key = Asked(*(row[name] for name in Asked._fields)).key
        if key not in off:
            rows[key] = {**row, "key": key, "difference": row["predicted"] - row["measured"], "by category": {}}
    return rows


def last_drawn() -> dict[str, Any]:
    """What the last draw found, as it is published; empty before the first."""
    try:
        found: dict[str, Any] = json.loads((RESULTS / "exactness.json").read_text())["summary"].get("drawn again", {})
    except OSError:
        return {}
    return found


def not_run(rows: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """How many combinations of a method that says it serves the model are in no log, by model and optimizer.

    A method that turned out not to serve the model with AdamW, at every shape, serves it with no other rule.
    """
    missing: dict[tuple[str, str], int] = {}
    for model, (_, shapes) in SHAPES.items():
        for optimizer in optimizer_rules():
            for method in methods.names():
                left = [a for a in (Asked(model, method, optimizer, *s) for s in shapes) if a.key not in rows]
                adamw = [Asked(model, method, "adamw", *s).key for s in shapes]
                if all("not served" in rows.get(key, ()) for key in adamw):
                    continue
                if left and left[0].served():
                    missing[model, optimizer] = missing.get((model, optimizer), 0) + len(left)
    return missing


def write(
    rows: list[dict[str, Any]], missing: dict[tuple[str, str], int], not_served: list[str], drawn: dict[str, Any]
) -> dict[str, Any]:
    """The compact JSON and the page of the documentation."""
    found = {**summary(rows), "drawn again": drawn}
    columns = ["model", "method", "optimizer", "batch", "length", "lever", "predicted", "measured", "fake", "formula"]
    lines = ",\n".join(json.dumps([r.get(c) for c in columns]) for r in rows if "difference" in r)
    RESULTS.mkdir(parents=True, exist_ok=True)
    left = {f"{model} {optimizer}": count for (model, optimizer), count in missing.items()}
    told = json.dumps({**found, "not run": left})
    head = f'{{"summary": {told},\n"not served": {json.dumps(not_served)},\n"columns": {json.dumps(columns)},\n'
    text = f'{head}"rows": [\n{lines}\n]}}\n'
    (RESULTS / "exactness.json").write_text(text)
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "exactness.md").write_text("\n".join(page(rows, found, missing)) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny", help="tiny, all, or names with commas")
    parser.add_argument("--methods", default="", help="names with commas; every method if empty")
    parser.add_argument("--optimizers", default="adamw", help=f"of {', '.join(optimizer_rules())}")
    parser.add_argument("--levers", action="store_true", help="levers, accumulation and padded batches instead")
    parser.add_argument("--shapes", type=int, default=3, help="how many of each model's shapes")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--together", action="store_true", help="one model for all rules and shapes of a method")
    parser.add_argument("--again", action="store_true", help="run cases that are in the log once more")
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="run N published cases, drawn, once more")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--no-table", action="store_true", help="only add to the log")
    parser.add_argument("--without-probe", action="store_true", help="only the tiers that execute nothing, anew")
    parser.add_argument("--table", action="store_true", help="only write the tables from the log")
    given = parser.parse_args()
    models = {"tiny": list(TINY), "all": list(SHAPES)}.get(given.models) or given.models.split(",")
    drawn = draw_again(given.draw, given.seed, given.log) if given.draw else last_drawn()
    if given.without_probe:
        without_probe(given.log)
    elif not (given.table or given.draw):
        chosen = list(asked(models, given))
        if given.together:
            chosen.sort(key=lambda one: (one.model, one.method, one.lever))
        run(chosen, given.log, given.again, Together() if given.together else None)
    if given.no_table or given.without_probe:
        return
    every = read(given.log)
    rows = [{"lever": "", **r} for r in every.values() if "not served" not in r]
    order = {name: i for i, name in enumerate(SHAPES)}
    rules = {name: i for i, name in enumerate(("adamw", "sgd", "momentum", "adamw8bit"))}
    rows.sort(key=lambda r: (order[r["model"]], r["lever"], rules.get(r["optimizer"], 9), r["method"], r["batch"]))
    found = write(rows, not_run(every), sorted(r["key"] for r in every.values() if "not served" in r), drawn)
    print(json.dumps({k: (len(v) if isinstance(v, list) else v) for k, v in found.items()}, indent=1))
    for entry in (*found["not exact"], *found["refused"], *found["failed"]):
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
