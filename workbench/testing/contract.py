"""The contract of a tuning method as plain checks, and a class that runs them under pytest.

>>> class TestMine(MethodContract):
...     method = "mine"
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from workbench.core.errors import Incompatible, UnknownName
from workbench.methods.base import methods
from workbench.models import resolve
from workbench.testing.subject import FITTING, TINY, Subject, subject_of

Check = Callable[[Subject], None]

#: Steps on one repeated batch at the method's own learning rate after which its loss is lower.
OVERFIT_STEPS = 20


def card_is_complete(subject: Subject) -> None:
    """Every required field of the card says something, and no two methods share a title."""
    card = subject.method.card
    assert card.missing() == []
    assert [m.name for m in methods if m.card.title == card.title] == [subject.method_name]


def config_survives_json(subject: Subject) -> None:
    """Config to JSON and back is the same config; every setting has a meaning or a telling name."""
    config = subject.case.config
    assert type(config)(**json.loads(config.model_dump_json())) == config
    assert [s.name for s in subject.method.settings()] == list(config.model_dump())


def unknown_setting_is_refused(subject: Subject) -> None:
    """A misspelt setting is one sentence that names the nearest known one."""
    try:
        subject.method.configure(optimiser="sgd")
    except UnknownName as error:
        assert "optimizer" in error.nearest
        assert "\n" not in str(error)
    else:
        raise AssertionError("a misspelt setting was accepted")


def every_model_is_served_or_refused(subject: Subject) -> None:
    """On each tiny model the method attaches and leaves something to train, or refuses in a sentence."""
    for name in TINY:
        given = subject.settings if name == subject.model_name else FITTING.get(subject.method_name, {})
        other = Subject(subject.method_name, name, given)
        reason = other.method.applies_to(resolve(name))
        if reason is None:
            try:
                model = other.attached()
            except Incompatible as error:
                reason = error.reason
            else:
                assert any(p.requires_grad for p in model.parameters()), name
                assert model.pintpot_parts is not None
                continue
        assert len(reason.split()) >= 3, f"{name}: {reason!r} is no sentence"
        assert "\n" not in reason


def listing_needs_no_torch(subject: Subject) -> None:
    """Importing the file that defines the method loads no torch."""
    module, file = type(subject.method).__module__, methods.files.get(subject.method_name)
    found = _file_without_torch(str(file)) if file else _modules_without_torch((module,))
    assert found, f"{file.name if file else module} loads torch; import it where it is used"


def frozen_tensors_stay(subject: Subject) -> None:
    """After three steps every frozen parameter has the same bits, but for what is a trained one in the same storage."""
    import torch

    model = subject.attached()
    before = _frozen_bytes(model)
    subject.trained(model, 3)
    moved = [n for n, now in _frozen_bytes(model).items() if not torch.equal(before[n], now)]
    assert moved == []


def _frozen_bytes(model: Any) -> dict[str, Any]:
    """The storage of each frozen parameter as bytes, with those of trained slices in it left out."""
    import torch

    found = {}
    trained = [p for p in model.parameters() if p.requires_grad]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            continue
        storage = parameter.untyped_storage()
        flat = torch.empty(0, dtype=torch.uint8).set_(storage).clone()
        for part in (p for p in trained if p.untyped_storage()._cdata == storage._cdata):
            assert part.is_contiguous(), f"a trained slice of {name} is not one piece of its storage"
            start = part.storage_offset() * part.element_size()
            flat[start : start + part.nbytes] = 0
        found[name] = flat
    return found


def trained_tensors_move(subject: Subject) -> None:
    """Something that is meant to train has other bits after three steps."""
    import torch

    model = subject.attached()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    subject.trained(model, 3)
    assert any(not torch.equal(before[n], p) for n, p in model.named_parameters() if n in before)


def zero_rate_changes_nothing(subject: Subject) -> None:
    """With a learning rate of zero nothing moves, not by a bit."""
    import torch

    model = subject.attached()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    subject.trained(model, 2, lr=0.0)
    moved = [n for n, p in model.named_parameters() if not torch.equal(p.detach(), before[n])]
    assert moved == []


def same_seed_same_losses(subject: Subject) -> None:
    """Two runs from one seed give the same bits."""
    first = subject.trained(subject.attached(), 3)[1]
    second = subject.trained(subject.attached(), 3)[1]
    assert first == second


def prediction_is_exact(subject: Subject) -> None:
    """The peak predicted on fake tensors is the peak measured on real ones, to the byte."""
    from workbench.memory.measure import measure

    case = subject.case
    predicted = case.predict()
    measured = measure(case.step(case.attached()), case.example())
    by_category = {c: (predicted.by_category.get(c), size) for c, size in measured.by_category.items()}
    assert predicted.peak == measured.peak, by_category
    assert predicted.peak == sum(predicted.by_category.values())


def prediction_grows_with_batch(subject: Subject) -> None:
    """Three times the batch never predicts fewer bytes."""
    small, large = subject.case.predict(), subject.with_batch(3 * subject.batch).case.predict()
    assert large.peak >= small.peak


def adapter_reproduces_the_model(subject: Subject) -> None:
    """What is saved, loaded over a fresh attachment with other random numbers, gives the same outputs."""
    import torch
    from safetensors.torch import load, save

    tuned = subject.attached()
    subject.trained(tuned, 3)
    state = {n: t.detach().clone().contiguous() for n, t in subject.method.adapter_state(tuned).items()}
    fresh = subject.attached(method_seed=1)
    subject.method.load_adapter(fresh, load(save(state)))
    torch.testing.assert_close(_logits(subject, fresh), _logits(subject, tuned), rtol=0, atol=1e-6)


def loss_falls(subject: Subject) -> None:
    """Twenty steps on one batch at the method's own rate lower its loss; forward-only: along minus the slope."""
    if _forward_only(subject):
        return _walks_against_the_slope(subject)
    model = subject.attached()
    before = _loss(subject, model)
    subject.trained(model, OVERFIT_STEPS)
    after = _loss(subject, model)
    assert after < before, f"{before:.4f} -> {after:.4f}"
    return None


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        card_is_complete,
        config_survives_json,
        unknown_setting_is_refused,
        every_model_is_served_or_refused,
        listing_needs_no_torch,
        frozen_tensors_stay,
        trained_tensors_move,
        zero_rate_changes_nothing,
        same_seed_same_losses,
        prediction_is_exact,
        prediction_grows_with_batch,
        adapter_reproduces_the_model,
        loss_falls,
    )
}
#: The checks that make sense of a method that serves none of the models at hand.
DECLARED = (
    "card_is_complete",
    "unknown_setting_is_refused",
    "every_model_is_served_or_refused",
    "listing_needs_no_torch",
)


def checks_of(method: str) -> tuple[str, ...]:
    """Names of the checks that apply to the method: all, or the declared ones when it refuses every tiny model."""
    return tuple(CHECKS) if subject_of(method) is not None else DECLARED


class MethodContract:
    """Subclass, name the method, and pytest runs every check that applies."""

    method: ClassVar[str] = ""
    model: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, Any]] = {}

    def pytest_generate_tests(self, metafunc: Any) -> None:
        metafunc.parametrize("check", checks_of(self.method))

    def test_contract(self, check: str) -> None:
        found = subject_of(self.method, (self.model,) if self.model else tuple(TINY))
        subject = found or Subject(self.method)
        if self.settings:
            subject = Subject(self.method, subject.model_name, self.settings)
        CHECKS[check](subject)


def _forward_only(subject: Subject) -> bool:
    """Whether a step is along the slope itself; with another rule or further parts only the loss can tell."""
    config = subject.case.config
    plain = config.optimizer == "sgd" and config.gradient == "two-sided" and config.probes == 1
    return subject.method.card.family == "forward-only" and plain


def _logits(subject: Subject, model: Any) -> Any:
    from workbench.tasks.classification import evaluating

    batch = {n: t for n, t in subject.examples()[0].items() if n != "labels"}
    with evaluating(model):
        return model(**batch).logits


def _loss(subject: Subject, model: Any) -> float:
    from workbench.tasks.classification import evaluating

    with evaluating(model):
        return float(subject.case.task.loss(model, subject.examples()[0]))


def _walks_against_the_slope(subject: Subject) -> None:
    """With plain SGD one step is minus rate times the slope along the regenerated noise."""
    import torch

    from workbench.core.seeds import derive
    from workbench.engine.noise import Noise, numbered

    model = subject.attached()
    step = subject.case.step(model)
    start = [p.detach().clone() for p in step.parameters]
    eps, seed = subject.case.config.perturbation, derive(7, "probe", 0)
    noise = [Noise([seed], [1.0]).like(w, numbered([i])) for i, w in enumerate(start)]
    values = []
    for scale in (eps, -eps):
        for parameter, before, z in zip(step.parameters, start, noise):
            parameter.data.copy_(before + scale * z)
        values.append(_loss(subject, model))
    for parameter, before in zip(step.parameters, start):
        parameter.data.copy_(before)
    step.set_lr(1e-2)
    step(subject.examples(), seed=7)
    slope = (values[0] - values[1]) / (2 * eps)
    for parameter, before, z in zip(step.parameters, start, noise):
        expected = before - 1e-2 * slope * z
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-4 * max(abs(slope), 0.1))


@functools.cache
def _modules_without_torch(modules: tuple[str, ...]) -> bool:
    """Whether a fresh interpreter can import these modules without torch."""
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules!r}]; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def _file_without_torch(file: str) -> bool:
    """The same of a file in no package."""
    load = f"from workbench.methods.base import methods; methods.load({file!r})"
    code = f"import sys; {load}; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
