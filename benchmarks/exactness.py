"""Predicted against measured peak of every shipped model, method and optimizer at three shapes, in bytes.

    OMP_NUM_THREADS=1 python benchmarks/exactness.py --models tiny --optimizers adamw,sgd,momentum,adamw8bit

Every case is predicted afresh (probe tier) and then measured on random weights in the same process. Finished
cases are kept in a log of JSON lines and skipped when the same command runs again; a case that changed is asked
for with ``--again``. The table in the documentation and its compact JSON are written from the log.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from workbench.case import Case
from workbench.core.errors import Incompatible, PintpotError
from workbench.methods.base import methods
from workbench.parts.optimizer import names as optimizer_rules

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LOG = ROOT / "runs" / "exactness.jsonl"

#: Task and three shapes (batch, tokens or pixels a side) of each model; small where its steps are long.
SHAPES: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    "tiny-bert": ("tokens", ((1, 8), (4, 32), (7, 100))),
    "tiny-llama": ("tokens", ((1, 8), (4, 32), (7, 100))),
    "tiny-cnn": ("pixels", ((1, 16), (4, 16), (16, 24))),
    "tiny-vit": ("pixels", ((1, 16), (4, 16), (16, 16))),
    "tiny-sensor": ("pixels", ((1, 100), (4, 64), (16, 100))),
    "minilm": ("tokens", ((1, 16), (4, 64), (8, 128))),
    "efficientnet-lite0": ("pixels", ((1, 64), (4, 96), (8, 96))),
    "dinov2-small": ("pixels", ((1, 70), (4, 70), (2, 98))),
    "smollm2": ("tokens", ((1, 8), (1, 32), (2, 24))),
}
TINY = tuple(name for name in SHAPES if name.startswith("tiny"))

#: Settings of methods whose defaults are made for wide models, so that they serve a width of 64.
FITTING: dict[str, dict[str, Any]] = {
    "c3a": {"block_size": 16},
    "vblora": {"vector_length": 32, "num_vectors": 32},
    "waveft": {"n_frequency": 256},
    "shira": {"r": 4},
    "road": {"group_size": 32},
}


#: Causes of what is known not to be exact, by method.
CAUSES: dict[str, str] = {
    "frod": "a fake sparse tensor holds no entries, so the gradient of its values and their optimizer state are missed",
    "shira": "its update is a sparse tensor, and the backward of one does not run on fake tensors",
    "vblora": "its forward asks whether a logit has become infinite, which only values answer",
}

COMMANDS = """OMP_NUM_THREADS=1 python benchmarks/exactness.py --models tiny --optimizers adamw,sgd,momentum,adamw8bit
OMP_NUM_THREADS=1 python benchmarks/exactness.py --models minilm,efficientnet-lite0
OMP_NUM_THREADS=1 python benchmarks/exactness.py --models smollm2 --methods full,lora,last-blocks,mezo --shapes 2"""


class Asked(NamedTuple):
    model: str
    method: str
    optimizer: str
    batch: int
    length: int

    @property
    def key(self) -> str:
        return f"{self.model} {self.method} {self.optimizer} {self.batch}x{self.length}"

    def case(self) -> Case:
        settings = {**(FITTING.get(self.method, {}) if self.model in TINY else {}), "optimizer": self.optimizer}
        return Case(SHAPES[self.model][0], self.model, self.method, self.batch, self.length, settings=settings)


def asked(models: list[str], chosen: list[str], optimizers: list[str], shapes: int) -> Iterator[Asked]:
    """Every combination whose method says that it serves the model; the optimizers outermost."""
    for optimizer in optimizers:
        for model in models:
            for method in chosen or methods.names():
                for batch, length in SHAPES[model][1][:shapes]:
                    yield Asked(model, method, optimizer, batch, length)


def compare(one: Asked) -> dict[str, Any] | None:
    """Predicted and measured bytes of one case; ``None`` when the method does not serve the model."""
    import torch

    from workbench.memory.measure import measure

    case = one.case()
    row: dict[str, Any] = {"key": one.key, **one._asdict()}
    start = time.perf_counter()
    try:
        if case.refusal() is not None:
            return None
        predicted = case.predict(fresh=True)
    except Incompatible as error:
        if error.field != "prediction":
            return None
        return {**row, "refused": str(error)}
    row["predict seconds"] = round(time.perf_counter() - start, 3)
    torch.manual_seed(0)
    measured = measure(case.step(case.attached(weights=False)), case.example())
    differing = {
        str(c): predicted.by_category.get(c, 0) - size
        for c, size in measured.by_category.items()
        if predicted.by_category.get(c, 0) != size
    }
    row |= {"predicted": predicted.peak, "measured": measured.peak, "difference": predicted.peak - measured.peak}
    row |= {"by category": differing, "source": [str(predicted.source), str(measured.source)]}
    if predicted.peak != measured.peak:
        row["at"] = [f"{p.phase} {p.operator} {p.module}" for p in (predicted, measured)]
    return row


def run(chosen: list[Asked], log: Path, again: bool) -> None:
    """Append a line for every case not yet in the log."""
    done = set() if again else set(read(log))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        for one in chosen:
            if one.key in done:
                continue
            try:
                row = compare(one)
            except (PintpotError, RuntimeError, ValueError, TypeError, AssertionError) as error:
                row = {"key": one.key, **one._asdict(), "failed": f"{type(error).__name__}: {str(error)[:300]}"}
            row = row or {"key": one.key, **one._asdict(), "not served": True}
            out.write(json.dumps(row) + "\n")
            out.flush()
            note = "" if row.get("difference", 0) == 0 and "failed" not in row else f"  <- {row}"
            if note:
                print(one.key, note, flush=True)


def read(log: Path) -> dict[str, dict[str, Any]]:
    """The latest line of each case."""
    try:
        lines = log.read_text().splitlines()
    except OSError:
        return {}
    return {row["key"]: row for row in map(json.loads, lines)}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, the worst error, and each case that is not exact, was refused or failed."""
    compared = [r for r in rows if "difference" in r]
    off = [r for r in compared if r["difference"]]
    worst = max((abs(r["difference"]) / r["measured"] for r in compared), default=0.0)
    return {
        "cases": len(compared),
        "exact": len(compared) - len(off),
        "every category exact too": sum(not r["by category"] for r in compared),
        "largest difference, bytes": max((abs(r["difference"]) for r in compared), default=0),
        "largest relative difference": worst,
        "not exact": [{k: r[k] for k in ("key", "predicted", "measured", "difference", "by category")} for r in off],
        "refused": [{"key": r["key"], "reason": r["refused"]} for r in rows if "refused" in r],
        "failed": [{"key": r["key"], "reason": r["failed"]} for r in rows if "failed" in r],
    }


def write(rows: list[dict[str, Any]]) -> None:
    """The compact JSON and the page of the documentation."""
    found = summary(rows)
    compact = [
        [r["model"], r["method"], r["optimizer"], r["batch"], r["length"], r["predicted"], r["measured"]]
        for r in rows
        if "difference" in r
    ]
    columns = ["model", "method", "optimizer", "batch", "length", "predicted", "measured"]
    lines = ",\n".join(json.dumps(row) for row in compact)
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = f'{{"summary": {json.dumps(found)},\n"columns": {json.dumps(columns)},\n"rows": [\n{lines}\n]}}\n'
    (RESULTS / "exactness.json").write_text(text)
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "exactness.md").write_text("\n".join(page(rows, found)) + "\n")


def page(rows: list[dict[str, Any]], found: dict[str, Any]) -> Iterator[str]:
    from workbench.environment import environment

    here = environment()
    compared = [r for r in rows if "difference" in r]
    yield "# Predicted and measured peak, in bytes\n"
    yield (
        f"**{found['exact']:,} of {found['cases']:,} cases agree to the byte**; {found['every category exact too']:,} "
        f"of them in every category as well. The largest difference is {found['largest difference, bytes']:,} bytes "
        f"({found['largest relative difference']:.2%}).\n"
    )
    yield "*Predicted* is the probe tier, made before the step runs; *measured* is the counting allocator's peak of a"
    yield "warm step with random weights. Both in bytes, one step of the method with its default settings. Written by"
    yield f"\n```\n{COMMANDS}\n```\n"
    yield f"with torch {here['torch']}, transformers {here['transformers']}, peft {here['peft']}, {here['processor']},"
    yield f"{here['threads']} thread. Every row is in `benchmarks/results/exactness.json`."
    yield "The commands resume from a log; a combination that is in no table had not been run when this was written.\n"
    yield "| model | optimizer | methods | cases | exact |\n|---|---|---|---|---|"
    for model, rule in dict.fromkeys((r["model"], r["optimizer"]) for r in compared):
        chosen = [r for r in compared if (r["model"], r["optimizer"]) == (model, rule)]
        count = len({r["method"] for r in chosen})
        yield f"| {model} | {rule} | {count} | {len(chosen):,} | {sum(r['difference'] == 0 for r in chosen):,} |"
    for title, key in (("Not exact", "not exact"), ("Not predicted", "refused"), ("Not run", "failed")):
        if found[key]:
            yield f"\n## {title}\n"
            yield from (f"- {cause}: {', '.join(keys)}" for cause, keys in _causes(found[key]).items())
    for model in dict.fromkeys(r["model"] for r in compared):
        yield from _table(model, [r for r in compared if r["model"] == model])


def _causes(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Keys of the cases by what is said of them; sizes are told per case."""
    grouped: dict[str, list[str]] = {}
    for entry in entries:
        method = entry["key"].split()[1]
        cause = CAUSES.get(method) or entry.get("reason", "no cause named yet")
        size = f" ({entry['difference']:+,} of {entry['measured']:,})" if "difference" in entry else ""
        grouped.setdefault(cause, []).append(f"`{entry['key']}`{size}")
    return grouped


def _table(model: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line per method and shape, for its first optimizer; other optimizers are counted above."""
    yield f"\n## {model}\n"
    yield "| method | optimizer | batch x length | predicted | measured | difference |\n|---|---|---|---|---|---|"
    first = rows[0]["optimizer"]
    for r in rows:
        if r["optimizer"] == first:
            shape = f"{r['batch']} x {r['length']}"
            numbers = f"{r['predicted']:,} | {r['measured']:,} | {r['difference']:+,}".replace("+0", "0")
            yield f"| {r['method']} | {r['optimizer']} | {shape} | {numbers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny", help="tiny, all, or names with commas")
    parser.add_argument("--methods", default="", help="names with commas; every method if empty")
    parser.add_argument("--optimizers", default="adamw", help=f"of {', '.join(optimizer_rules())}")
    parser.add_argument("--shapes", type=int, default=3, help="how many of each model's shapes")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--again", action="store_true", help="run cases that are in the log once more")
    parser.add_argument("--table", action="store_true", help="only write the tables from the log")
    given = parser.parse_args()
    models = {"tiny": list(TINY), "all": list(SHAPES)}.get(given.models) or given.models.split(",")
    if not given.table:
        methods_chosen = [m for m in given.methods.split(",") if m]
        run(list(asked(models, methods_chosen, given.optimizers.split(","), given.shapes)), given.log, given.again)
    rows = [r for r in read(given.log).values() if "not served" not in r]
    order = {name: i for i, name in enumerate(SHAPES)}
    rules = {name: i for i, name in enumerate(("adamw", "sgd", "momentum", "adamw8bit"))}
    rows.sort(key=lambda r: (order[r["model"]], rules.get(r["optimizer"], 9), r["method"], r["batch"], r["length"]))
    write(rows)
    found = summary(rows)
    shown = {k: (len(v) if isinstance(v, list) else v) for k, v in found.items()}
    print(json.dumps(shown, indent=1))
    for entry in (*found["not exact"], *found["refused"], *found["failed"]):
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
