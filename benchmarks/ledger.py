"""What the counting allocator costs: one allocation, and whole training steps, with it and without it.

    OMP_NUM_THREADS=1 python benchmarks/ledger.py [--repeats N]

Each variant runs in its own process, because the allocator stays once installed. Processes with and without take
turns; the fastest of all repeats is kept, in CPU time. *Plain* is torch's own allocator, *counted* is the ledger
with a budget set, which is what a training run pays at every step. *Ratio* is counted over plain.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from workbench.environment import environment, now

ROOT = Path(__file__).resolve().parents[1]


def small_allocations(count: int) -> float:
    """CPU microseconds of one allocation and free of 64 KiB."""
    import torch

    start = time.process_time()
    for _ in range(count):
        torch.empty(65536, dtype=torch.uint8)
    return (time.process_time() - start) / count * 1e6


def step_time(kind: str, repeats: int) -> float:
    """CPU milliseconds of one training step: the fastest of ``repeats``."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    width = 256 if kind == "transformer" else 32
    blocks = [nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU()) for _ in range(4)]
    model = nn.TransformerEncoder(layer, 4) if kind == "transformer" else nn.Sequential(*blocks)
    batch = torch.randn(8, 64, width) if kind == "transformer" else torch.randn(8, width, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters())
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        best = min(best, time.process_time() - start)
    return best * 1e3


def run_once(counted: bool) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    with ExitStack() as stack:
        if counted:
            from workbench.memory import ledger

            stack.enter_context(ledger.counting(2**40))
        return {
            "allocation, us": small_allocations(200_000),
            "transformer step, ms": step_time("transformer", 8),
            "convolution step, ms": step_time("convolution", 8),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variant", choices=("plain", "counted"))
    chosen = parser.parse_args()
    if chosen.variant:
        print(json.dumps(run_once(chosen.variant == "counted")))
        return
    best: dict[str, dict[str, float]] = {"plain": {}, "counted": {}}
    for _ in range(chosen.repeats):
        for variant, found in best.items():
            command = [sys.executable, __file__, "--variant", variant]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for name, value in json.loads(shown.splitlines()[-1]).items():
                found[name] = min(value, found.get(name, value))
    rows = [(name, f"{plain:.3f}", f"{best['counted'][name]:.3f}", f"{best['counted'][name] / plain:.3f}")
            for name, plain in best["plain"].items()]  # fmt: skip
    for row in rows:
        print(*row, sep="  ")
    write(rows, chosen.repeats)


def write(rows: list[tuple[str, ...]], repeats: int) -> None:
    """The page of the documentation that holds these figures."""
    text = (__doc__ or "").strip().split("\n")
    host = ", ".join(f"{name} {value}" for name, value in environment().items())
    lines = ["# What the ledger costs\n", text[0], "\nWritten by\n", "```", text[2].strip(), "```\n", *text[4:]]
    lines += ["", f"Host: {host}. Measured, {repeats} processes of each kind, {now()}.", ""]
    lines += [f"| {' | '.join(r)} |" for r in (("", "plain", "counted", "ratio"), ("---",) * 4, *rows)]
    (ROOT / "docs" / "ledger.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
