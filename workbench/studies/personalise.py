"""Teach a trained denoiser something it never saw, by one token: the arms of one comparison at as many steps each.

A step of backpropagation costs about as much as the three forward passes of a step without it, so equal steps are
nearly equal work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core import paths
from workbench.core.errors import BadInput, UnknownName
from workbench.records.schema import RunRecord

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from workbench.bench import Bench
    from workbench.case import Case

METHOD = "zoodip"
SHOWN = 10  #: pictures of each arm that are kept to be looked at
TIMES = tuple(i / 20 for i in range(1, 20))  #: at which the loss is asked
_ALL = {"timesteps_from": 0.0, "timesteps_to": 1.0}
_GAP = {"timesteps_from": 0.15, "timesteps_to": 0.6}  #: where a wrong token costs most here, by :func:`token_by_time`


@dataclass(frozen=True)
class Arm:
    """A way of learning the token: a method with settings."""

    label: str
    method: str
    settings: Mapping[str, Any]


RATE = 0.1  #: of a grid from 0.01 to 0.3, on a seed that no result uses, the best of every arm that was tried
BACKPROP = Arm("backprop, fp32", "textual-inversion", {"lr": RATE})
ARMS = (
    BACKPROP,
    Arm("ZOODiP", METHOD, {"lr": RATE}),
    Arm("without subspace", METHOD, {"lr": RATE, "subspace": 0}),
    Arm("with all timesteps", METHOD, {"lr": RATE, **_ALL}),
    Arm("plain zeroth-order", METHOD, {"lr": RATE, "subspace": 0, **_ALL}),
    Arm("window by the gap", METHOD, {"lr": RATE, "subspace": 0, **_GAP}),
    Arm("lazy: rounded float copy", METHOD, {"lr": RATE, "subspace": 0, **_ALL, "quantized": "fake"}),
    Arm("backprop, int8", METHOD, {"lr": RATE, "subspace": 0, **_ALL, "gradient": "own"}),
)


@dataclass(frozen=True)
class Preset:
    """How much is run: epochs of the denoiser's own training, steps of each token, which arms, which seeds.

    ``school`` is the task that the denoiser is trained on before, ``lesson`` the one that a token is learned on.
    """

    model: str
    epochs: float
    steps: int
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    school: str = "digit-diffusion"
    lesson: str = "new-digit"


_EVERY = tuple(arm.label for arm in ARMS)
PRESETS: Mapping[str, Preset] = {
    "quick": Preset("tiny-denoiser", 20, 80, _EVERY[:3] + _EVERY[4:5], (0,)),
    "standard": Preset("tiny-denoiser", 60, 600, _EVERY, (0, 1, 2)),
    "full": Preset("tiny-denoiser", 200, 5000, _EVERY, (0, 1, 2, 3, 4)),
    "fashion": Preset(
        "small-denoiser", 24, 600, tuple(x for x in _EVERY if x not in ("window by the gap", "backprop, int8")),
        (0, 1, 2), "fashion-diffusion", "new-garment",
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset called ``name``; raises ``UnknownName``."""
    if name not in PRESETS:
        raise UnknownName("profile", name, PRESETS)
    return PRESETS[name]


def arms_named(labels: Sequence[str]) -> list[Arm]:
    """The arms of these labels; raises ``UnknownName``."""
    known = {arm.label: arm for arm in ARMS}
    for label in labels:
        if label not in known:
            raise UnknownName("arm", label, known)
    return [known[label] for label in labels]


def trained_denoiser(chosen: Preset, progress: Callable[[str], None] | None = None) -> str:
    """The name of the denoiser after it has learned the known kinds: trained once from configuration and seed, kept."""
    from workbench.bench import open as opened
    from workbench.studies.factory import factory_model

    school = opened(chosen.school, chosen.model, budget="64 GiB", profile="standard")
    return factory_model(school, epochs=chosen.epochs, progress=progress)


def known_score(chosen: Preset) -> float:
    """The share of pictures that the denoiser draws of the kinds it was taught which are recognised as what was asked.

    No token can be expected to draw better than this.
    """
    from workbench.bench import open as opened

    school = opened(chosen.school, trained_denoiser(chosen), budget="64 GiB", profile="standard")
    case = school.case("full")
    data = case.task.load(case.spec, school.sizes, 0)
    return float(case.task.score(case.attached().eval(), data, case.spec).value)


def bench_for(chosen: Preset, device: str, budget: str = "", *, steps: int = 0, pictures: int = 0) -> Bench:
    """The bench on which tokens are learned from ``pictures`` pictures (0: the task's own number).

    What is asked is checked before the denoiser is trained.
    """
    from workbench.bench import open as opened
    from workbench.tasks import tasks

    if steps < 0:
        raise BadInput("steps", steps, "a whole number from 0, which stands for the profile's")
    least = tasks.get(chosen.lesson).default_batch
    if pictures and pictures < least:
        raise BadInput("pictures", pictures, f"at least {least}, the pictures of one step")
    bench = opened(chosen.lesson, chosen.model, device, budget, train=pictures or None, steps=steps or chosen.steps)
    bench.case(METHOD).task.load(bench.case(METHOD).spec, bench.sizes, 0)
    return replace(bench, model=trained_denoiser(chosen))


@dataclass(frozen=True)
class LearnedToken:
    """One arm: its runs, and what its first seed draws, (count, side, side) as grey values from 0 to 255."""

    label: str
    records: tuple[RunRecord, ...]
    drawings: np.ndarray


def learned(
    bench: Bench, arms: Sequence[Arm], seeds: Sequence[int], *, progress: Callable[[str], None] | None = None
) -> list[LearnedToken]:
    """Every arm with every seed. Finished runs and their tokens are kept."""
    if not seeds:
        raise BadInput("seeds", list(seeds), "at least one seed")
    tell, found = progress or (lambda _: None), []
    for arm in arms:
        records = []
        for seed in seeds:
            tell(f"{arm.label}, seed {seed}")
            records.append(_trained(bench, arm, seed))
        found.append(LearnedToken(arm.label, tuple(records), drawings(bench, arm, seeds[0])))
    return found


def _folder(bench: Bench, arm: Arm, seed: int) -> Path:
    cell = bench.cell(bench.case(arm.method, **arm.settings), seed, reference=True)
    return paths.cache() / "tokens" / cell.key()[:32]


def _trained(bench: Bench, arm: Arm, seed: int) -> RunRecord:
    from workbench.studies.adapted import train

    folder = _folder(bench, arm, seed)
    key = bench.cell(bench.case(arm.method, **arm.settings), seed).key()
    record = bench.store.finished(key)
    if record is not None and (folder.exists() or not record.score):
        return record
    shutil.rmtree(folder, ignore_errors=True)
    return train(bench, arm.method, seed, export=folder, **arm.settings)


def tuned(bench: Bench, arm: Arm, seed: int) -> tuple[Case, nn.Module]:
    """The denoiser with the token that this run has left."""
    from workbench.adapters import read

    case = bench.case(arm.method, **arm.settings)
    model = case.attached(seed=seed)
    folder = _folder(bench, arm, seed)
    if folder.exists():
        read(folder).load_into(case, model)
    return case, model


def drawings(bench: Bench, arm: Arm, seed: int, count: int = SHOWN) -> np.ndarray:
    """What the learned token draws, (count, side, side), uint8; every arm begins with the same noise."""
    import torch

    case, model = tuned(bench, arm, seed)
    tokens = torch.full((count,), len(case.task.labels) - 1)  # type: ignore[attr-defined]
    return _grey(case.task.draw(model.eval(), tokens)[:, 0].numpy())  # type: ignore[attr-defined]


def untrained(bench: Bench, count: int = SHOWN) -> np.ndarray:
    """What the token draws as it begins, in the form of :func:`drawings`."""
    import torch

    case = bench.case(BACKPROP.method)
    tokens = torch.full((count,), len(case.task.labels) - 1)  # type: ignore[attr-defined]
    return _grey(case.task.draw(case.attached().eval(), tokens)[:, 0].numpy())  # type: ignore[attr-defined]


def examples(bench: Bench, count: int = SHOWN) -> np.ndarray:
    """The pictures that the token is learned from, in the form of :func:`drawings`."""
    import numpy as np

    case = bench.case(BACKPROP.method)
    data = case.task.load(case.spec, bench.sizes, 0)
    return _grey(np.stack([e["image"] for e in data.train[:count]]))


def _grey(pictures: np.ndarray) -> np.ndarray:
    found: np.ndarray = ((pictures + 1) * 127.5).clip(0, 255).round().astype("uint8")
    return found


@dataclass(frozen=True)
class TimeCurves:
    """Loss on held-out pictures by time: with the learned token, and with others on average."""

    times: tuple[float, ...]
    right: tuple[float, ...]
    wrong: tuple[float, ...]
    window: tuple[float, float]
    record: str


def token_by_time(bench: Bench, seed: int = 0, others: int = 9) -> TimeCurves:
    """How much the token matters at each time, which is where to draw times from: :data:`BACKPROP`'s against others."""
    import torch

    from workbench.tasks.drawing import STYLES, loss_by_time

    record = _trained(bench, BACKPROP, seed)
    case, model = tuned(bench, BACKPROP, seed)
    batch = case.task.collate(case.task.load(case.spec, bench.sizes, 0).test, case.spec)
    with torch.no_grad():
        right = loss_by_time(model, batch, TIMES)
        found = [
            loss_by_time(model, {**batch, "tokens": torch.full_like(batch["tokens"], other * STYLES)}, TIMES)
            for other in range(others)
        ]
    wrong = tuple(sum(losses) / len(losses) for losses in zip(*found))
    config = bench.case(METHOD).config
    return TimeCurves(TIMES, tuple(right), wrong, (config.timesteps_from, config.timesteps_to), record.id)
