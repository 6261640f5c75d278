"""A token learned without backpropagation against one learned with it: three seeds, bytes, pictures; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/zoodip.py [--of SET] [--part PART] [--arm LABEL] [--page]

Sets are ``digits`` and ``fashion``, parts ``tuning``, ``arms``, ``school`` (how well the denoiser draws what it was
taught), ``times`` and ``gradients``. Finished runs are kept by the store and the cache; what stands in the results
file is not asked again unless ``--fresh``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import zoodip_page as report

from workbench.environment import environment, now
from workbench.records.schema import RunRecord
from workbench.studies import personalise
from workbench.studies.token_gradients import gradient_quality
from workbench.studies.tuned_arms import last_loss

RESULTS = Path(__file__).resolve().parent / "results" / "zoodip.json"
TUNING_SEED = 100
RATES = (1e-2, 3e-2, 1e-1, 3e-1)
TUNED = ("backprop, fp32", "ZOODiP", "plain zeroth-order")
SLOW = {"fashion": ((3e-2, 1e-1, 3e-1), TUNED[:2])}  #: sets whose pictures are large try fewer
SETS = {"digits": "standard", "fashion": "fashion"}  #: profile of each
PARTS = ("tuning", "arms", "school", "times", "gradients")


def tune(bench: Any, label: str, rates: Sequence[float], cell: dict[str, Any], keep: Callable[[], None]) -> None:
    """The loss at the end of one run for each rate, on a seed that no result uses."""
    (arm,) = personalise.arms_named([label])
    for rate in rates:
        if str(rate) not in cell:
            record = bench.run(arm.method, TUNING_SEED, **{**arm.settings, "lr": rate})
            cell[str(rate)] = last_loss(record)
            print("tuning", label, rate, cell[str(rate)], flush=True)
            keep()


def lean(record: RunRecord) -> RunRecord:
    """The record without steps, and profiles without their course: what a page is drawn from."""
    bare = {"timeline": (), "by_module": {}, "saved_by_module": {}}
    profiles = {n: getattr(record, n) for n in ("predicted", "measured")}
    kept = {n: replace(p, **bare) for n, p in profiles.items() if p is not None}
    return replace(record, steps=(), environment={}, **kept)


def run_arm(bench: Any, label: str, seeds: Sequence[int]) -> dict[str, Any]:
    """What an arm gave with every seed, as plain data."""
    (learned,) = personalise.learned(bench, personalise.arms_named([label]), seeds)
    print(label, [r.score.get("value") for r in learned.records], learned.records[0].state, flush=True)
    return {
        "records": [lean(r).to_dict() for r in learned.records],
        "drawings": report.packed(learned.drawings),
    }


def fill(stored: dict[str, Any], profile: str, parts: Sequence[str], only: str, keep: Callable[[], None]) -> None:
    """What is missing of one set's parts."""
    preset = personalise.preset(profile)
    bench = personalise.bench_for(preset, "this-host", "64 GiB")
    stored["steps"], stored["batch"] = preset.steps, bench.batch
    if "tuning" in parts:
        rates, labels = SLOW.get(profile, (RATES, TUNED))
        for label in labels:
            tune(bench, label, rates, stored.setdefault("tuning", {}).setdefault(label, {}), keep)
    if "arms" in parts:
        arms = stored.setdefault("arms", {})
        for label in [only] if only else preset.arms:
            arms[label] = arms.get(label) or run_arm(
                bench, label, preset.seeds[:1] if profile in SLOW and "lazy" in label else preset.seeds
            )
            keep()
        stored["real"] = report.packed(personalise.examples(bench))
        stored["before"] = report.packed(personalise.untrained(bench))
    if "school" in parts:
        stored["school"] = stored.get("school") or personalise.known_score(preset)
    if "times" in parts:
        stored["times"] = stored.get("times") or asdict(personalise.token_by_time(bench))
    if "gradients" in parts:
        stored["gradients"] = stored.get("gradients") or gradient_quality(bench)
    keep()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=SETS, help="one set of pictures; default all")
    parser.add_argument("--part", choices=PARTS, help="one part; default all")
    parser.add_argument("--arm", default="", help="only this arm, by its label")
    parser.add_argument("--fresh", action="store_true", help="forget what is stored of the chosen sets and parts")
    parser.add_argument("--page", action="store_true", help="only write the page from what is stored")
    given = parser.parse_args()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    parts = [given.part] if given.part else PARTS
    for name in () if given.page else [given.of] if given.of else SETS:
        found = stored.setdefault(name, {})
        for part in parts if given.fresh else ():
            found.pop(part, None)

        def keep(found: dict[str, Any] = found) -> None:
            found.update({"host": environment(), "when": now()})
            RESULTS.write_text(json.dumps(stored, indent=1) + "\n")

        fill(found, SETS[name], parts, given.arm, keep)
    report.write(stored)


if __name__ == "__main__":
    main()
