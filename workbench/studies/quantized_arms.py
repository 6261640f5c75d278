"""A trained float model made to run at a few bits: by rounding, by calibration, by backpropagation, by forwards alone.

Every arm starts from the same float weights and is judged on the same test set. Rounding needs nothing, calibration a
few batches; the others train. A rate is chosen by the training loss of the first seed, never by a test score.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch

from workbench.core.errors import BadInput, UnknownName
from workbench.core.seeds import derive
from workbench.lens.code_flips import all_codes, changed
from workbench.nn.gptq import channel_scales, gptq
from workbench.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from workbench.bench import Bench
    from workbench.core.profile import MemoryProfile
    from workbench.tasks.base import Batch

METHOD = "zeroqat"
CALIBRATION = 4  #: training batches that calibration sees
ALPHA = 0.75  #: share of the input's range in the transform, the paper's for OPT
LAST = 0.25  #: share of a run's steps whose mean loss decides on the rate


@dataclass(frozen=True)
class Arm:
    """Settings of the method beside its widths; ``rates`` empty: it does not train. ``prepare`` is what calibration
    does: ``transform``, ``gptq`` or nothing. ``lazy`` arms are there to lose.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    prepare: str = ""
    lazy: bool = False


#: Rates are those of full weights; perturbation and rate belong together, and coarse grids need larger noise.
ARMS: Mapping[str, Arm] = {
    "round to nearest": Arm({"scales": "moving"}),
    "clip, then round": Arm({}),  # where ZeroQAT starts from, so what its training adds
    "transform, then round": Arm({"scales": "moving", "transform": True}, prepare="transform"),
    "transform and clip, then round": Arm({"transform": True}, prepare="transform"),
    "GPTQ": Arm({"scales": "fixed"}, prepare="gptq"),
    "ZeroQAT": Arm({}, (3e-6, 3e-5)),
    "ZeroQAT with transform": Arm({"transform": True}, (3e-6, 3e-5), prepare="transform"),
    "ZeroQAT light": Arm({"tuned_blocks": 2}, (1e-5, 1e-4)),
    "light, not trained": Arm({"tuned_blocks": 2}),  # what ZeroQAT light starts from
    "straight-through QAT": Arm({"gradient": "own", "optimizer": "adamw"}, (3e-5, 1e-4)),
    "lazy: rounded weights": Arm({"scales": "rounded"}, (3e-5,), lazy=True),
}


@dataclass(frozen=True)
class Outcome:
    """One arm at one width with one seed. ``score`` is the task's; ``moved`` the share of codes that training changed
    for good; ``profile`` the measured step, ``predicted`` its peak in bytes on fake tensors (first seed only)."""

    arm: str
    bits: int
    seed: int
    lr: float
    score: float
    loss: float
    moved: float | None
    profile: MemoryProfile | None
    predicted: int | None


def float_model(bench: Bench, seed: int, steps: int, lr: float) -> dict[str, Tensor]:
    """Weights after ``steps`` of full tuning in float; ``steps`` 0: as they were loaded."""
    case = bench.case("full", lr=lr)
    session = Session(case, seed, None, replace(bench.schedule, steps=max(steps, 1)), bench.sizes)
    session.prepare()
    if steps:
        for _ in session.steps():
            pass
    return {name: tensor.detach().clone() for name, tensor in session.model.state_dict().items()}


def quantized_session(bench: Bench, start: Mapping[str, Tensor], seed: int, steps: int, **settings: Any) -> Session:
    """A session of the method over the weights ``start`` instead of the model's own."""
    case = bench.case(METHOD, **settings)
    session = Session(case, seed, None, replace(bench.schedule, steps=max(steps, 1)), bench.sizes)
    session.load()
    torch.manual_seed(derive(seed, "model"))
    model = case.spec.build(case.task.classes(case.spec), device="cpu", weights=False, seed=derive(seed, "head"))
    model.load_state_dict(dict(start))
    model.pintpot_kind = case.spec.kind  # type: ignore[assignment]
    session.model = case.method.attach(model, case.attached_config).train()
    session.training = case.step(session.model)
    return session


def calibrate(session: Session, what: str) -> None:
    """``transform``: factors by input channel from the largest inputs; ``gptq``: weights moved onto their grid.

    Both ask the quantized model on a few training batches, so later layers see the errors of earlier ones.
    """
    if what not in ("transform", "gptq"):
        raise UnknownName("calibration", what, ["transform", "gptq"])
    case, found = session.case, {}
    stream = case.task.batches(session.data, case.spec, case.batch, derive(session.seed, "calibration"))
    with _watched(session.model, what, found):
        for batch in itertools.islice(stream, CALIBRATION):
            _asked(session, batch)
    with torch.no_grad():
        for layer, seen in found.items():
            if what == "transform":
                layer.smooth.copy_(channel_scales(seen, layer.weight, ALPHA))
            else:
                layer.weight.copy_(gptq(layer.weight, seen, layer.scale, layer.zero, layer.bits.weights))


@contextmanager
def _watched(model: nn.Module, what: str, found: dict[Any, Tensor]) -> Iterator[None]:
    from workbench.lens.code_flips import layers

    def see(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
        if what == "transform":
            now = x.abs().amax(0)
            found[layer] = torch.maximum(found[layer], now) if layer in found else now
        else:
            now = x.t() @ x
            found[layer] = found[layer] + now if layer in found else now

    handles = [layer.register_forward_pre_hook(see) for layer in layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _asked(session: Session, batch: Batch) -> float:
    training = session.model.training
    session.model.eval()
    loss = float(session.case.task.loss(session.model, batch))
    session.model.train(training)
    return loss


def held_out_loss(session: Session, size: int = 32) -> float:
    """Mean loss over the test examples, in evaluation mode."""
    case, test = session.case, session.data.test
    total, count = 0.0, 0
    for start in range(0, len(test), size):
        part = [test[i] for i in range(start, min(start + size, len(test)))]
        total += _asked(session, case.task.collate(part, case.spec)) * len(part)
        count += len(part)
    return total / count


def settings_of(name: str, bits: int, lr: float, **more: Any) -> dict[str, Any]:
    """Settings of the method for an arm; a rate of 0 leaves the method's own."""
    return {**ARMS[name].settings, "weight_bits": bits, **({"lr": lr} if lr else {}), **more}


def predicted(bench: Bench, found: Outcome, **more: Any) -> Outcome:
    """The outcome with the peak of its step as predicted on fake tensors, where it trained."""
    if found.profile is None:
        return found
    case = bench.case(METHOD, **settings_of(found.arm, found.bits, found.lr, **more))
    return replace(found, predicted=case.predict().peak)


def outcome(
    bench: Bench, name: str, bits: int, seed: int, start: Mapping[str, Tensor], steps: int, lr: float, **more: Any
) -> tuple[Outcome, float]:
    """Run one arm; also the mean training loss of its last steps (infinite when it diverged, or did not train)."""
    if name not in ARMS:
        raise UnknownName("arm", name, ARMS)
    arm = ARMS[name]
    session = quantized_session(bench, start, seed, steps, **settings_of(name, bits, lr, **more))
    if arm.prepare:
        calibrate(session, arm.prepare)
    before, losses = all_codes(session.model), [float("inf")]
    if arm.rates:
        try:
            losses = [step.loss for step in session.steps()] or losses
        except FloatingPointError:
            losses = [float("inf")]
    last = mean(losses[-max(1, round(LAST * len(losses))) :])
    moved = changed(before, all_codes(session.model)) if arm.rates else None
    score, loss = session.score().value, held_out_loss(session)
    return Outcome(name, bits, seed, lr, score, loss, moved, session.measured, None), last


def quantized_arms(
    bench: Bench,
    starts: Mapping[int, Mapping[str, Tensor]],
    bits: Sequence[int],
    steps: int,
    *,
    arms: Sequence[str] = tuple(ARMS),
    rates: Mapping[str, Sequence[float]] | None = None,
    light: int = 2,
    progress: Callable[[str], None] | None = None,
    **more: Any,
) -> list[Outcome]:
    """Every arm at every width from every start (weights by seed), each at the best rate of its grid for that width.

    ``rates`` gives arms that train other grids than their own, ``light`` the deepest blocks that the light variant
    trains. Arms that do not train run from the first start only, where all starts are the same.
    """
    if not starts or not bits or steps < 1:
        raise BadInput("starts, bits and steps", (list(starts), list(bits), steps), "at least one of each")
    tell, found = progress or (lambda _: None), []
    first, same = next(iter(starts)), len({id(start) for start in starts.values()}) == 1
    for width, name in itertools.product(bits, arms):
        tell(f"{name}, {width} bits")
        arm = ARMS[name]
        given = {**more, **({"tuned_blocks": light} if "tuned_blocks" in arm.settings else {})}

        def run(seed: int, lr: float, name: str = name, width: int = width, given: Any = given) -> Any:
            return outcome(bench, name, width, seed, starts[seed], steps, lr, **given)

        grid = (rates or {}).get(name, arm.rates) if arm.rates else (0.0,)
        tried = {lr: run(first, lr) for lr in grid}
        lr = min(tried, key=lambda rate, tried=tried: tried[rate][1])  # type: ignore[misc]
        found.append(predicted(bench, tried[lr][0], **given))
        if arm.rates or not same:
            found += [run(seed, lr)[0] for seed in list(starts)[1:]]
    return found
