"""Predicted beside measured step time on this host, one run, and the distribution of the error.

    python benchmarks/step_time.py [--quick] [--json FILE]

Every case is timed (median of repeated steps), then predicted from a recording of one step; operator timings
come from the store of this host. Run it on a quiet machine: the load is printed with the table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.devices.calibrate import call_costs
from workbench.devices.record import record
from workbench.devices.step_time import ProbeStore, predict, step_clock

Step = Callable[[], Any]


def bert(layers: int = 6, width: int = 384) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 32}
    return BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **sizes))


def llama(layers: int = 8, width: int = 512) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": width, "intermediate_size": 1376, "num_attention_heads": 8, "vocab_size": 8192}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **sizes))


def mobilenet() -> nn.Module:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=10))


def select(model: nn.Module, method: str, layers: str) -> nn.Module:
    """What is trained: everything, adapters, or the last two blocks and the head."""
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(r=8, target_modules="all-linear"))
    if method == "sparse":
        blocks = model.get_submodule(layers)
        model.requires_grad_(False)
        for block in list(blocks)[-2:]:
            block.requires_grad_(True)
        for name in ("classifier", "lm_head"):
            if hasattr(model, name):
                getattr(model, name).requires_grad_(True)
    return model


def step_of(model: nn.Module, batch: dict[str, torch.Tensor], fused: bool = True) -> Step:
    """One training step with AdamW."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=fused)

    def run() -> None:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def cases(quick: bool) -> Iterator[tuple[str, Step]]:
    """Name and step of every case; a model lives only while its case runs."""
    shapes = [(1, 32), (4, 64), (8, 128)] if not quick else [(1, 32), (4, 64)]
    for batch, length in shapes:
        ids = torch.randint(1000, (batch, length))
        text = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": torch.zeros(batch, dtype=torch.long),
        }
        for method in ("full", "lora", "sparse"):
            yield f"bert {method} B{batch} T{length}", step_of(select(bert(), method, "bert.encoder.layer"), text)
        if batch == 4:
            yield f"bert full unfused B{batch} T{length}", step_of(bert(), text, fused=False)
        if batch == 8:
            ids = ids[:4]
        causal = {"input_ids": ids, "labels": ids}
        for method in ("full", "lora", "sparse"):
            yield f"llama {method} B{len(ids)} T{length}", step_of(select(llama(), method, "model.layers"), causal)
    for batch in (1,) if quick else (1, 8):
        pixels = {"pixel_values": torch.rand(batch, 3, 96, 96), "labels": torch.zeros(batch, dtype=torch.long)}
        for method in ("full", "sparse"):
            model = select(mobilenet(), method, "mobilenet_v2.layer")
            yield f"mobilenetv2 {method} B{batch} 96px", step_of(model, pixels)


def measured(run: Step, seconds: float) -> tuple[float, float]:
    """Median and spread (inter-quartile range over median) of a step after two to warm up.

    On one thread the clock counts the thread's own time, so that other jobs on the machine do not enter.
    """
    run()
    run()
    clock = step_clock()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 9 or time.perf_counter() < until:
        before = clock()
        run()
        taken.append(clock() - before)
    low, middle, high = statistics.quantiles(taken, n=4)
    return middle, (high - low) / middle


def compare(name: str, run: Step, store: ProbeStore, costs: dict[str, float]) -> dict[str, Any]:
    """Measure one case, predict it, print both."""
    truth, spread = measured(run, 1.5)
    started = time.perf_counter()
    guess = predict(record(run), store, costs)
    probing = time.perf_counter() - started
    error = (guess.value or 0.0) / truth - 1
    text = f"{name:32s} {truth * 1e3:8.2f}ms {spread:7.1%} {(guess.value or 0) * 1e3:8.2f}ms {error:+7.1%}"
    print(f"{text} {probing:8.1f}", flush=True)
    if "not timed" in guess.note:
        print("   " + guess.note)
    return {"case": name, "measured": truth, "spread": spread, "predicted": guess.value, "error": error}


def distribution(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median, 90th percentile and maximum of the absolute error."""
    sizes = sorted(abs(row["error"]) for row in rows)
    ninth = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    return {"median": statistics.median(sizes), "p90": ninth, "max": sizes[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small shapes only")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    torch.manual_seed(0)
    store = ProbeStore()
    print(f"threads {torch.get_num_threads()}, load at start {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    costs = call_costs(quick=options.quick, store=store)
    print("cost per call, microseconds: " + ", ".join(f"{n} {v * 1e6:.2f}" for n, v in costs.items()))
    print(f"{'case':32s} {'measured':>10s} {'spread':>7s} {'predicted':>10s} {'error':>7s} {'probe s':>8s}")
    rows = [compare(n, run, store, costs) for n, run in cases(options.quick) if options.only in n]
    summary = distribution(rows)
    print("absolute error: " + ", ".join(f"{name} {value:.1%}" for name, value in summary.items()))
    print(f"load at end {os.getloadavg()[0]:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
