"""What a call costs beyond its operator: small training steps timed beside their own operators replayed.

Most steps are so small that their time is nearly all Python, modules, dispatch and the autograd engine; a few move
enough to empty the caches between two calls, as the steps of real models do. None of their models is one that pintpot
ships.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import nn

from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.devices.pace import pace, step_clock
from workbench.devices.record import CLASSES, Recorder, record
from workbench.devices.replay import PHASES, compiled, stand_ins, timed

#: Microseconds a call of each class can plausibly cost; a noisy machine must not trade one against another.
#: A replay calls its operators from Python, which the backward pass does not, so a cost may be below zero.
_BOUNDS = {
    "view": (-1, 6), "forward": (-2, 10), "backward": (-3, 10), "optimizer": (-3, 10),
    "update": (10, 400), "step": (5, 200), "parameter": (0, 15), "module": (0.5, 10), "block": (0.5, 60),
    "perturbed": (0, 60),
    "cold module": (0, 40), "cold block": (0, 120), "cold backward": (0, 40), "cold update": (0, 900),
}  # fmt: skip
_TINY = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 99}
_WIDE = {"hidden_size": 448, "num_attention_heads": 7, "intermediate_size": 1344, "vocab_size": 2000}

Loss = Callable[[], torch.Tensor]
TimedStep = Callable[[], dict[str, float]]  #: seconds of each phase


def _bert(layers: int, sizes: dict[str, int] = _TINY) -> tuple[nn.Module, Loss]:
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **sizes))
    ids, label = torch.randint(99, (1, 8)), torch.zeros(1, dtype=torch.long)
    return model, lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=label).loss


def _llama(layers: int, sizes: dict[str, int] = _TINY) -> tuple[nn.Module, Loss]:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **sizes))
    ids = torch.randint(99, (1, 8))
    return model, lambda: model(input_ids=ids, labels=ids).loss


def _convolutional(layers: int, width: int = 8, side: int = 10) -> tuple[nn.Module, Loss]:
    kinds = (lambda: nn.Conv2d(width, width, 3, padding=1), lambda: nn.BatchNorm2d(width), nn.ReLU6)
    block = [make() for _ in range(layers) for make in kinds]
    model = nn.Sequential(nn.Conv2d(3, width, 3), *block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2))
    pixels, label = torch.rand(1, 3, side, side), torch.zeros(1, dtype=torch.long)
    return model, lambda: nn.functional.cross_entropy(model(pixels), label)


def _adapted(model: nn.Module, loss: Loss) -> tuple[nn.Module, Loss]:
    """The same with LoRA on every linear layer and convolution."""
    from peft import LoraConfig, inject_adapter_in_model

    kinds = nn.Linear | nn.Conv2d
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    inject_adapter_in_model(LoraConfig(r=4, target_modules=names, lora_dropout=0.1), model)
    return model, loss


class SmallStep:
    """One training step that times its own phases; ``each`` gives every parameter an optimizer of its own."""

    def __init__(self, module: nn.Module, loss: Loss, make: Callable[..., torch.optim.Optimizer], each: bool) -> None:
        self.loss = loss
        trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizers = [make([p], lr=1e-4) for p in trained] if each else [make(trained, lr=1e-4)]

    def __call__(self) -> dict[str, float]:
        """Seconds of each phase."""
        clock = step_clock()
        start = clock()
        with in_phase(Phase.FORWARD):
            value = self.loss()
        middle = clock()
        with in_phase(Phase.BACKWARD):
            value.backward()
        late = clock()
        with in_phase(Phase.UPDATE):
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return dict(zip(PHASES, (middle - start, late - middle, clock() - late), strict=True))


def small_models(quick: bool) -> Iterator[tuple[nn.Module, Loss]]:
    """Models of this file with their losses, for steps of another kind than :class:`SmallStep`."""
    yield from (_bert(4), _convolutional(16), *([] if quick else [_llama(4), _convolutional(40)]))


def _steps(quick: bool) -> Iterator[SmallStep]:
    loop, fused = (partial(torch.optim.AdamW, fused=way) for way in (False, True))
    yield SmallStep(*_bert(4), fused, each=True)
    yield SmallStep(*_convolutional(16), torch.optim.SGD, each=True)
    wide = [_bert(3, _WIDE), _convolutional(12, 48, 50), *([] if quick else [_llama(3, _WIDE)])]
    for module, loss in (*wide, _adapted(*_bert(3, _WIDE))):
        yield SmallStep(module, loss, fused, each=False)
    plain = [_bert(4), _convolutional(16), *([] if quick else [_llama(8), _bert(12), _convolutional(40)])]
    for module, loss in plain:
        yield from (SmallStep(module, loss, make, each=False) for make in (loop, fused))
    adapted = [_adapted(*_bert(4)), *([] if quick else [_adapted(*_llama(4)), _adapted(*_convolutional(20))])]
    for module, loss in adapted:
        yield SmallStep(module, loss, fused, each=False)


def _remainders(step: TimedStep, recorder: Recorder, times: int) -> dict[str, tuple[float, float]]:
    """Seconds of each phase of a step, and those of them that its replayed operators leave over.

    Step and replay take turns, so that what disturbs one disturbs the other.
    """
    with torch.no_grad():
        given = stand_ins(recorder.tape.program)
        replayed, _, _ = compiled(recorder.tape.program, given)
    whole: dict[str, list[float]] = {phase: [] for phase in PHASES}
    rest: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for turn in range(times + 3):
        real = step()
        with torch.no_grad():
            alone = timed(replayed, given)
        if turn >= 3:
            for phase in PHASES:
                whole[phase].append(real[phase])
                rest[phase].append(real[phase] - alone[phase])
    return {phase: (statistics.median(whole[phase]), statistics.median(rest[phase])) for phase in PHASES}


def call_costs(quick: bool, more: Iterable[TimedStep] = ()) -> tuple[dict[str, float], float]:
    """Seconds each class of call costs beyond the operator's own time, and the host's pace that they belong to.

    ``more`` are further steps that time their own phases: without any that perturb weights on the way, what that costs
    is not known and counts as nothing.

    A bounded least-squares fit over (step, phase) of what the replay leaves over, as a share of the phase, against
    the number of views, of other calls and of module calls in that phase.
    """
    rows, shares, common = [], [], pace()
    with torch.random.fork_rng(devices=[]):
        for step in (*_steps(quick), *more):
            recorder = record(step)
            before = pace(3)
            found = _remainders(step, recorder, 15 if quick else 60)
            now = (before + pace(3)) / 2
            for phase, (whole, rest) in found.items():
                if not whole:
                    continue
                rows.append([recorder.counts[phase, name] * now / (whole * common) for name in CLASSES])
                shares.append(rest / whole)
    low, high = zip(*(_BOUNDS[name] for name in CLASSES))
    fit = lsq_linear(np.array(rows) * 1e-6, np.array(shares), bounds=(low, high))
    return {name: float(cost) * 1e-6 for name, cost in zip(CLASSES, fit.x, strict=True)}, common
