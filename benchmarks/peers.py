"""What other tools say of the same training steps, beside the prediction and the measured peak.

    OMP_NUM_THREADS=1 python benchmarks/peers.py

Each case runs in two fresh processes: one predicts it and measures it with the counting allocator; the other,
where that allocator is not installed, asks accelerate's estimate, weight calculators, process RSS, torch's
profiler and torch's MemTracker. A tool that raises is reported with what it raised.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.case import Case

ROOT = Path(__file__).resolve().parents[1]
CASES = (
    ("tokens", "minilm", "full", 8, 128),
    ("tokens", "minilm", "lora", 8, 128),
    ("tokens", "minilm", "last-blocks", 8, 128),
    ("tokens", "minilm", "checkpointing", 8, 128),
    ("tokens", "minilm", "mezo", 8, 128),
    ("tokens", "smollm2", "full", 1, 32),
    ("tokens", "smollm2", "lora", 1, 32),
    ("pixels", "efficientnet-lite0", "full", 8, 96),
    ("pixels", "efficientnet-lite0", "last-blocks", 8, 96),
    ("pixels", "efficientnet-lite0", "mezo", 8, 96),
    ("pixels", "dinov2-small", "full", 2, 70),
    ("pixels", "dinov2-small", "lora", 2, 70),
)
#: Column, what it is.
TOOLS = {
    "pintpot": "predicted before the step runs: fake tensors and workspace probe",
    "accelerate": "accelerate's estimate-memory formula for training with Adam in float32, on the base model",
    "weights": "bytes of the attached model's weights",
    "weights + 3 x trained": "weights, and a gradient and two moments for each trained one",
    "RSS": "highest resident size during three steps, above the size after the imports",
    "profiler": "torch.profiler with profile_memory: highest running sum of one warm step",
    "profiler + base": "the same, with weights, optimizer state and inputs added by the caller",
    "MemTracker": "torch.distributed._tools.mem_tracker, peak total of two steps",
}


def ours(case: Case) -> dict[str, int]:
    """Predicted and measured peak in bytes."""
    from workbench.memory.measure import measure

    predicted = case.predict(fresh=True).peak
    return {"measured": measure(case.step(case.attached(weights=False)), case.example()).peak, "pintpot": predicted}


def theirs(case: Case) -> dict[str, int | str]:
    """Bytes by tool, or the sentence it raised."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    baseline = _resident("VmRSS")
    model = case.attached(weights=False)
    step, batch = case.step(model), case.example()
    for _ in range(3):
        step(batch)
    found: dict[str, int | str] = {"RSS": _resident("VmHWM") - baseline}
    weights = _bytes([*model.parameters(), *model.buffers()])
    found["weights"] = weights
    found["weights + 3 x trained"] = weights + 3 * _bytes([p for p in model.parameters() if p.requires_grad])
    found["accelerate"] = _accelerate(case)
    delta = _asked(lambda: _profiler(step, batch))
    found["profiler"] = delta
    if isinstance(delta, int):
        held = [*step.optimizer_state(), *(t for b in batch for t in b.values() if isinstance(t, torch.Tensor))]
        found["profiler + base"] = delta + weights + _bytes(held)
    found["MemTracker"] = _asked(lambda: _mem_tracker(case))
    return found


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _bytes(tensors: list[Any]) -> int:
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def _asked(question: Callable[[], int]) -> int | str:
    try:
        return question()
    except Exception as error:  # whatever a peer raises is its answer
        return f"raises {type(error).__name__}: {str(error).splitlines()[0][:120]}"


def _accelerate(case: Case) -> int:
    """What ``accelerate estimate-memory`` prints as the peak of training with Adam; it knows no methods."""
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes

    base = case.spec.build(case.task.classes(case.spec), device="meta", weights=False)
    total, _ = calculate_maximum_sizes(base)
    return int(max(estimate_training_usage(total, "float32").values()))


def _profiler(step: Any, batch: Any) -> int:
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(batch)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    running = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        running += event.nbytes()
        highest = max(highest, running)
    return highest


def _mem_tracker(case: Case) -> int:
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker

    step, batch = case.step(case.attached(weights=False)), case.example()
    tracker = MemTracker()
    tracker.track_external(step.model, *step.optimizers)
    with tracker:
        step(batch)
        tracker.reset_mod_stats()
        step(batch)
    return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])


def collected(given: tuple[Any, ...]) -> dict[str, Any]:
    """One case's row, from two fresh processes."""
    row: dict[str, Any] = {"case": f"{given[1]} {given[2]} {given[3]}x{given[4]}"}
    for part in ("ours", "theirs"):
        command = [sys.executable, __file__, "--part", part, "--case", json.dumps(given)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.returncode:
            raise SystemExit(f"{row['case']} ({part}): {shown.stderr[-2000:]}")
        row |= json.loads(shown.stdout.splitlines()[-1])
    return row


def _error(row: dict[str, Any], tool: str) -> str:
    value = row.get(tool)
    if not isinstance(value, int):
        return "raises" if value else "–"
    difference = value - row["measured"]
    relative = difference / row["measured"]
    if abs(relative) >= 0.0005:
        return f"{relative:+.1%}"
    return f"{difference:+,} bytes" if difference else "0 bytes"


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The error table with its legend."""
    lines = [
        "# Other tools on the same steps\n",
        "Error of each tool's figure against the measured peak of a warm step",
    ]
    lines += ["(all torch memory: weights, gradients, optimizer state, saved tensors, workspace, inputs). Written by"]
    lines += ["\n```\nOMP_NUM_THREADS=1 python benchmarks/peers.py\n```\n"]
    lines += [f"| case | measured, bytes | {' | '.join(TOOLS)} |", "|---|---:|" + "---:|" * len(TOOLS)]
    for row in rows:
        errors = " | ".join(_error(row, tool) for tool in TOOLS)
        lines.append(f"| {row['case']} | {row['measured']:,} | {errors} |")
    middle = []
    for tool in TOOLS:
        known = [abs(r[tool] / r["measured"] - 1) for r in rows if isinstance(r.get(tool), int)]
        middle.append(f"{statistics.median(known):.1%} of {len(known)}" if known else "–")
    lines += [f"| *median absolute error, cases answered* | | {' | '.join(middle)} |", ""]
    lines += [f"- **{tool}**: {meaning}." for tool, meaning in TOOLS.items()]
    raised = sorted({f"{tool}: {row[tool]}" for row in rows for tool in TOOLS if isinstance(row.get(tool), str)})
    lines += ["", *(f"- {sentence}" for sentence in raised)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--part", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        case = Case(*json.loads(given.case))
        print(json.dumps({"ours": ours, "theirs": theirs}[given.part](case)))
        return
    for chosen in CASES:
        if given.only in f"{chosen[1]} {chosen[2]}":
            row = collected(chosen)
            print(row["case"], row["measured"], {tool: _error(row, tool) for tool in TOOLS}, flush=True)
            keep(row)


def keep(row: dict[str, Any]) -> None:
    """Put a row into the results in place of the case's older one, and write the page anew."""
    store = ROOT / "benchmarks" / "results" / "peers.json"
    store.parent.mkdir(exist_ok=True)
    rows = {r["case"]: r for r in json.loads(store.read_text())} if store.exists() else {}
    rows[row["case"]] = row
    names = [f"{c[1]} {c[2]} {c[3]}x{c[4]}" for c in CASES]
    kept = sorted((r for r in rows.values() if r["case"] in names), key=lambda r: names.index(r["case"]))
    store.write_text(json.dumps(kept, indent=1) + "\n")
    (ROOT / "docs" / "peers.md").write_text("\n".join(page(kept)) + "\n")


if __name__ == "__main__":
    main()
