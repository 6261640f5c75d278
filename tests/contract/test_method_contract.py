"""Every registered method against the shipped contract; how many checks each one passes may not fall."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.methods.base import methods
from workbench.testing import CHECKS, Subject, checks_of, subject_of
from workbench.testing.subject import FITTING, TINY

COUNTS = Path(__file__).parent / "counts.json"


def _own(name: str) -> bool:
    return type(methods.get(name)).__module__.startswith("workbench.")


NAMES = [name for name in methods.names() if _own(name)]
FIRST = {name: subject_of(name) for name in NAMES}
MORE = [
    (name, model)
    for name in NAMES
    for model in TINY
    if (first := FIRST[name]) is not None and model != first.model_name and subject_of(name, (model,)) is not None
]
DEEP = (
    "frozen_tensors_stay",
    "same_seed_same_losses",
    "prediction_is_exact",
    "adapter_reproduces_the_model",
    "loss_falls",
)


@pytest.mark.parametrize(("name", "check"), [pytest.param(n, c, id=f"{n}::{c}") for n in NAMES for c in checks_of(n)])
def test_contract(name: str, check: str) -> None:
    CHECKS[check](FIRST[name] or Subject(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "check"),
    [pytest.param(n, m, c, id=f"{n}-on-{m}::{c}") for n, m in MORE for c in DEEP],
)
def test_contract_on_other_models(name: str, model: str, check: str) -> None:
    from workbench.core.errors import Incompatible

    subject = Subject(name, model, FITTING.get(name, {}))
    try:
        subject.attached()
    except Incompatible as error:
        pytest.skip(f"refused: {error.reason}")
    CHECKS[check](subject)


def test_no_method_is_checked_less_than_before() -> None:
    stored = json.loads(COUNTS.read_text())
    now = {name: len(checks_of(name)) for name in NAMES}
    fallen = {name: (count, now.get(name, 0)) for name, count in stored.items() if now.get(name, 0) < count}
    assert fallen == {}
    assert set(now) == set(stored), "a new method: add its count to counts.json"


def test_every_method_of_the_package_attaches_to_some_tiny_model_or_says_why_never() -> None:
    never = sorted(name for name, subject in FIRST.items() if subject is None)
    reasons = {name: methods.get(name).refusal for name in never}
    assert all(len(reason.split()) > 5 for reason in reasons.values()), reasons
    assert len(never) <= 6
