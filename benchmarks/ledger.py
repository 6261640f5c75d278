"""What the counting allocator costs: one allocation, and whole training steps, with it and without it.

Run ``python benchmarks/ledger.py``. Each variant runs in its own process, because the allocator stays once
installed; variants are interleaved and the minimum of the repeats is printed with their ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack


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
    parser = argparse.ArgumentParser(description=__doc__)
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
    print(f"{'':24}{'plain':>10}{'counted':>10}{'ratio':>8}")
    for name, plain in best["plain"].items():
        counted = best["counted"][name]
        print(f"{name:24}{plain:10.3f}{counted:10.3f}{counted / plain:8.3f}")


if __name__ == "__main__":
    main()
