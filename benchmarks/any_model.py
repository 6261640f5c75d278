"""Predicted against measured peak of one training step of many transformers architectures, in bytes.

    OMP_NUM_THREADS=1 python benchmarks/any_model.py
    OMP_NUM_THREADS=1 python benchmarks/any_model.py --models t5,mixtral --methods lora

Every model is a folder with nothing but a small ``config.json``, as a user would hand it to ``--model path:DIR``. The
step is predicted (probe tier), then run on random weights. Rows take the place of those that are stored of the same
model and method, and the page is written from all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from any_model_configs import CONFIGURATIONS, OTHERS
from any_model_page import page

from workbench.case import Case
from workbench.core.errors import Incompatible, PintpotError
from workbench.core.profile import MemoryProfile
from workbench.core.versions import installed_version
from workbench.memory.measure import measure
from workbench.models import resolve

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "any_model.json"
METHODS = ("full", "lora", "head")
BATCH = 3


def folder(place: Path, name: str) -> Path:
    """A folder with the small configuration of this ``model_type``."""
    made = place / name
    made.mkdir(parents=True, exist_ok=True)
    _, config = (CONFIGURATIONS | OTHERS)[name]
    (made / "config.json").write_text(json.dumps({"model_type": name, **config}))
    return made


def compare(name: str, method: str, place: Path) -> dict[str, Any]:
    """One row: predicted and measured bytes, or the sentence that refuses."""
    row: dict[str, Any] = {"model": name, "method": method}
    try:
        spec = resolve(f"path:{folder(place, name)}")
        row |= {"kind": spec.kind, "parameters": spec.parameters}
        task = "tokens" if spec.modality == "text" else "pixels"
        case = Case(task, f"path:{place / name}", method, BATCH, (CONFIGURATIONS | OTHERS)[name][0])
        predicted = _predicted(case, row)
        measured = measure(case.step(case.attached(weights=False)), case.example())
        row["measured"] = measured.peak
        if predicted is not None:
            off = {c for c in measured.by_category if predicted.by_category.get(c, 0) != measured.by_category[c]}
            difference = predicted.peak - measured.peak
            row |= {"predicted": predicted.peak, "difference": difference, "by category": sorted(off)}
    except PintpotError as error:
        row["refused"] = str(error).replace(f"{place}/", "")
    except Exception as error:  # a traceback where a sentence should stand
        row["failed"] = f"{type(error).__name__}: {str(error)[:200]}"
    return row


def _predicted(case: Case, row: dict[str, Any]) -> MemoryProfile | None:
    """The prediction, or ``None`` for a step that can be measured all the same."""
    try:
        return case.predict(fresh=True)
    except Incompatible as error:
        if error.field != "prediction":
            raise
        row["refused"] = str(error)
        return None


def rows(names: list[str], methods: list[str]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            for method in methods:
                yield compare(name, method, Path(place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="", help="model types with commas; all if empty")
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    names = given.models.split(",") if given.models else [*CONFIGURATIONS, *OTHERS]
    methods = given.methods.split(",")
    stored = {(row["model"], row["method"]): row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for row in rows(names, methods):
        stored[row["model"], row["method"]] = row
        print(json.dumps(row), flush=True)
    every = [(name, method) for name in (*CONFIGURATIONS, *OTHERS) for method in METHODS]
    found = [stored[key] for key in every if key in stored]
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in found) + "\n]\n")
    versions = {name: str(installed_version(name)) for name in ("torch", "transformers", "peft")}
    (ROOT / "docs" / "any-model.md").write_text(page(found, BATCH, versions))


if __name__ == "__main__":
    main()
