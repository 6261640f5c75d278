"""Every lever beside the same method without it, in one run, on random weights: memory, time and gradient.

    OMP_NUM_THREADS=1 python benchmarks/levers.py [--quick] [--only NAME] [--repeats N]

Peaks are measured by the counting allocator and predicted beside it; the column *predicted - measured* is their
difference in bytes. *Saved* are the bytes that autograd keeps for backward. Step times are process CPU seconds, the
steps with and without the lever taken in turns, the fastest of each kept. The gradient is that of one batch from the
same weights and the same random state, all trained parameters as one vector, against the method without the lever:
cosine, and length of the difference over length of the gradient. Beside it stands the same error of the method
without the lever when its pictures are moved by one unit in the last place of float32: deep nets of random weights
magnify rounding that much, so a lever that only sums in another order cannot be closer. Ratios below 1 are gains.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.case import Case
from workbench.core.errors import PintpotError
from workbench.core.profile import Tier
from workbench.environment import environment, now
from workbench.memory import ledger
from workbench.memory.measure import measure
from workbench.nn.chunked_loss import chunked_cross_entropy

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "levers.json"
PAGE = ROOT / "docs" / "levers.md"
EPSILON = torch.finfo(torch.float32).eps


class Bench(NamedTuple):
    """A model and method at a shape (batch, length), its smaller shape for ``--quick``, and what is pulled."""

    task: str
    model: str
    method: str
    shape: tuple[int, int]
    quick: tuple[int, int]
    levers: tuple[dict[str, Any], ...]


BENCHES = (
    Bench("tokens", "minilm", "full", (8, 128), (2, 32), (
        {"saved": "bf16"}, {"saved": "int8"}, {"bit_masks": True}, {"recompute": 1}, {"recompute": 2},
        {"recompute_first": 3}, {"weights": "bf16"}, {"update_in_backward": True},
        {"recompute": 1, "update_in_backward": True},
        {"saved": "int8", "bit_masks": True, "update_in_backward": True}, {"saved": "static"},
    )),
    Bench("tokens", "minilm", "lora", (8, 128), (2, 32), (
        {"weights": "nf4"}, {"weights": "frozen-bf16"}, {"saved": "int8"},
        {"weights": "frozen-bf16", "saved": "int8", "recompute": 2}, {"saved": "static"},
    )),
    Bench("tokens", "smollm2", "lora", (2, 128), (1, 32), (
        {"chunked_loss": 64}, {"weights": "nf4"}, {"weights": "frozen-bf16"}, {"recompute": 1}, {"saved": "int8"},
        {"chunked_loss": 64, "recompute": 1, "weights": "nf4"},
        {"chunked_loss": 64, "recompute": 1, "weights": "frozen-bf16"},
    )),
    Bench("tokens", "smollm2", "full", (2, 128), (1, 32), (
        {"update_in_backward": True}, {"weights": "bf16"}, {"chunked_loss": 64, "update_in_backward": True},
    )),
    Bench("pixels", "efficientnet-lite0", "full", (8, 96), (2, 64), (
        {"channels_last": True}, {"bit_masks": True}, {"saved": "bf16"}, {"saved": "int8"}, {"weights": "bf16"},
        {"channels_last": True, "bit_masks": True, "saved": "int8", "update_in_backward": True},
    )),
    Bench("pixels", "efficientnet-lite0", "last-blocks", (8, 96), (2, 64), (
        {"channels_last": True}, {"weights": "frozen-bf16"},
    )),
    Bench("pixels", "dinov2-small", "full", (4, 70), (1, 28), (
        {"saved": "bf16"}, {"saved": "int8"}, {"recompute": 1}, {"weights": "bf16"}, {"update_in_backward": True},
        {"saved": "static"},
    )),
)  # fmt: skip


#: Every single lever, on the smallest model of every family: where it applies, and whether it is predicted exactly.
FAMILIES = {"tiny-bert": "tokens", "tiny-llama": "tokens", "tiny-vit": "pixels", "tiny-cnn": "pixels",
            "tiny-sensor": "watch-exercises"}  # fmt: skip
SINGLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("full", {"saved": "bf16"}), ("full", {"saved": "int8"}), ("full", {"saved": "static"}),
    ("full", {"bit_masks": True}), ("full", {"channels_last": True}), ("full", {"chunked_loss": 32}),
    ("full", {"recompute": 1}), ("full", {"recompute_first": 2}), ("full", {"update_in_backward": True}),
    ("full", {"weights": "bf16"}), ("last-blocks", {"weights": "frozen-bf16"}), ("last-blocks", {"weights": "nf4"}),
)  # fmt: skip


def steps_of(case: Case) -> Any:
    """A step on random weights, ready to be called with the case's batch."""
    return case.step(case.attached(weights=False))


def times(runs: list[Callable[[], Any]], repeats: int) -> list[float]:
    """CPU seconds of one call of each, taken in turns: the fastest of ``repeats``."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for index, run in enumerate(runs):
            start = time.process_time()
            run()
            best[index] = min(best[index], time.process_time() - start)
    return best


def gradient(case: Case, noise: float = 0.0) -> tuple[float, Tensor]:
    """Loss and gradient (all trained parameters, flat, float64) of one step from fixed weights and random state.

    ``noise`` moves every number that comes in by about that part of it.
    """
    step, found = steps_of(case), {}
    batches = [{n: v * (1 + noise * torch.randn(v.shape)) if v.is_floating_point() and noise else v
                for n, v in batch.items()} for batch in case.example()]  # fmt: skip

    def note(parameter: nn.Parameter) -> None:
        if parameter.grad is not None:  # a mask token that no example uses has none
            found[id(parameter)] = parameter.grad.detach().double().flatten()

    step.observer = note
    torch.manual_seed(0)
    loss = float(step(batches, seed=0))
    return loss, torch.cat([found[id(p)] for p in step.parameters if id(p) in found])


def deviation(case: Case, reference: tuple[float, Tensor]) -> dict[str, float]:
    loss, given = gradient(case)
    apart = (given - reference[1]).norm() / reference[1].norm()
    cosine = nn.functional.cosine_similarity(given, reference[1], dim=0)
    return {"loss_deviation": loss - reference[0], "gradient_cosine": float(cosine), "gradient_error": float(apart)}


def rows_of(bench: Bench, quick: bool, repeats: int) -> Iterator[dict[str, Any]]:
    batch, length = bench.quick if quick else bench.shape
    bare = Case(bench.task, bench.model, bench.method, batch, length)
    reference = gradient(bare)
    rounding = float((gradient(bare, EPSILON)[1] - reference[1]).norm() / reference[1].norm())
    step, example = steps_of(bare), bare.example()
    without = measure(step, example)
    for settings in bench.levers:
        case = Case(bench.task, bench.model, bench.method, batch, length, settings=settings)
        predicted = case.predict(Tier.PROBE)
        pulled, own = steps_of(case), case.example()
        measured = measure(pulled, own)
        seconds = times([lambda: step(example), lambda p=pulled, o=own: p(o)], repeats)
        del pulled
        gc.collect()
        row = {
            "model": bench.model,
            "method": bench.method,
            "batch": batch,
            "length": length,
            "lever": settings,
            "peak": measured.peak,
            "peak_without": without.peak,
            "peak_ratio": round(measured.peak / without.peak, 4),
            "saved_ratio": round(measured.saved / without.saved, 4),
            "predicted_minus_measured": predicted.peak - measured.peak,
            "step_seconds": round(seconds[1], 4),
            "step_seconds_without": round(seconds[0], 4),
            "time_ratio": round(seconds[1] / seconds[0], 3),
            **deviation(case, reference),
            "rounding_error": rounding,
        }
        print(*cells(row), sep="  |  ", flush=True)
        yield row


def family_row(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Peak ratio and predicted minus measured by model; a refusal is a sentence in their place."""
    row: dict[str, Any] = {"method": method, "lever": settings}
    for model, task in FAMILIES.items():
        length = 128 if task == "watch-exercises" else 16
        bare = Case(task, model, method, 4, length)
        case = Case(task, model, method, 4, length, settings=settings)
        try:
            predicted = case.predict(Tier.PROBE)
        except PintpotError as error:
            row[model] = str(error)
            continue
        peaks = [measure(steps_of(c), c.example()).peak for c in (case, bare)]
        row[model] = {"peak_ratio": round(peaks[0] / peaks[1], 4), "error": predicted.peak - peaks[0]}
    print(words(settings), {m: row[m] for m in FAMILIES}, flush=True)
    return row


def loss_rows(repeats: int, tokens: int = 1024, width: int = 512, vocabulary: int = 32_768) -> list[dict[str, Any]]:
    """The chunked loss against the plain one, each alone: forward and backward from hidden states."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,))
    rows = []
    for trained in (True, False):
        weight = (torch.randn(vocabulary, width) / width**0.5).requires_grad_(trained)

        def run(loss: Callable[[], Tensor], weight: Tensor = weight) -> Tensor:
            hidden.grad = weight.grad = None
            loss().backward()
            return hidden.grad

        plain = lambda w=weight: nn.functional.cross_entropy(hidden @ w.t(), targets)  # noqa: E731
        for chunk in (32, 64, 128):
            chunked = lambda c=chunk, w=weight: chunked_cross_entropy(hidden, w, None, targets, c)  # noqa: E731
            peaks, found = [], []
            for loss in (chunked, plain):
                run(loss)  # once before, so that neither is charged for the other's gradients
                hidden.grad = weight.grad = None
                with ledger.counting() as count:
                    found.append(run(loss).clone())
                peaks.append(count.peak)
            seconds = times([lambda f=chunked: run(f), lambda f=plain: run(f)], repeats)
            error = float((found[0] - found[1]).norm() / found[1].norm())
            rows.append({"weight trained": trained, "chunk": chunk, "tokens": tokens, "vocabulary": vocabulary,
                         "peak_ratio": round(peaks[0] / peaks[1], 4), "time_ratio": round(seconds[0] / seconds[1], 3),
                         "gradient_error": error})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{n}={v}" for n, v in settings.items())


HEAD = ("case", "lever", "peak", "saved", "time", "predicted - measured, bytes", "loss off by", "gradient cosine",
        "gradient error", "same, inputs rounded")  # fmt: skip


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['model']} {row['method']} {row['batch']}x{row['length']}",
        words(row["lever"]),
        f"{row['peak_ratio']:.3f}",
        f"{row['saved_ratio']:.3f}",
        f"{row['time_ratio']:.2f}",
        f"{row['predicted_minus_measured']:+d}" if row["predicted_minus_measured"] else "0",
        f"{row['loss_deviation']:+.1e}" if row["loss_deviation"] else "0",
        f"{row['gradient_cosine']:.5f}",
        f"{row['gradient_error']:.1e}" if row["gradient_error"] else "0",
        f"{row['rounding_error']:.1e}" if row.get("rounding_error") else "–",
    )


def page(stored: dict[str, Any]) -> str:
    text = (__doc__ or "").strip().split("\n")
    host = ", ".join(f"{n} {v}" for n, v in stored["host"].items())
    lines = [
        "# The levers, each with its gain and its cost\n",
        text[0],
        "\nWritten by\n",
        "```",
        text[2].strip(),
        "```\n",
    ]
    lines += [*text[4:], "", f"Host: {host}. Measured; repeats: {stored['repeats']}.", ""]
    lines += table(HEAD, [cells(r) for r in stored["rows"]])
    lines += ["", "## Each lever on each family of models", ""]
    lines += ["Peak over the peak without, and predicted minus measured bytes; batch of 4.", ""]
    reasons: dict[str, int] = {}

    def cell(found: Any) -> str:
        if isinstance(found, str):
            return f"refused ({reasons.setdefault(found, len(reasons) + 1)})"
        return (
            f"{found['peak_ratio']:.3f}, {found['error']:+d} bytes"
            if found["error"]
            else f"{found['peak_ratio']:.3f}, 0"
        )

    families = [(words(r["lever"]), r["method"], *(cell(r[m]) for m in FAMILIES)) for r in stored["families"]]
    lines += table(("lever", "method", *FAMILIES), families)
    lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items())]
    lines += ["", "## The chunked loss alone", "", "Forward and backward of the loss from hidden states; no model.", ""]
    names = ("weight trained", "chunk", "tokens", "vocabulary", "peak_ratio", "time_ratio", "gradient_error")
    lines += table(names, [tuple(f"{r[n]:.1e}" if n == "gradient_error" else str(r[n]) for n in names)
                           for r in stored["loss"]])  # fmt: skip
    return "\n".join(lines) + "\n"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def keep(section: str, rows: list[dict[str, Any]], repeats: int) -> None:
    """Put rows into the results in place of older ones of their case and lever, and write the page anew."""
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kinds = {"peak": "measured", "step_seconds": "measured, process CPU time", "ratios": "measured"}
    stored |= {"host": environment(), "when": now(), "kinds": kinds, "repeats": repeats}
    if section == "rows":
        order = [(b.model, b.method, lever) for b in BENCHES for lever in b.levers]
        found = {order.index(_place(row)): row for row in (*stored.get("rows", []), *rows)}
        rows = [found[place] for place in sorted(found)]
    stored[section] = rows
    for name in ("rows", "families", "loss"):
        stored.setdefault(name, [])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
    PAGE.write_text(page(stored))


def _place(row: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return row["model"], row["method"], row["lever"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small shapes, one repeat, nothing stored")
    parser.add_argument("--only", default="", help="one model, 'families' or 'loss'")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    store = (lambda *_: None) if chosen.quick else keep
    if chosen.only in ("", "loss"):
        store("loss", loss_rows(repeats), repeats)
    if chosen.only in ("", "families"):
        store("families", [family_row(*single) for single in SINGLES], repeats)
    for bench in BENCHES:
        if chosen.only in ("", bench.model, f"{bench.model} {bench.method}"):
            for row in rows_of(bench, chosen.quick, repeats):
                store("rows", [row], repeats)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
