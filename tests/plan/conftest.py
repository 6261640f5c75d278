"""Cases of a tiny model, small enough to predict by the dozen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from workbench.case import Case
from workbench.devices.model import Device, get
from workbench.methods.base import methods
from workbench.methods.full import Full
from workbench.parts.estimator.backprop import Backprop


@pytest.fixture(scope="session")
def small() -> Case:
    return Case("tokens", "tiny-bert", "full", 8, 16)


@pytest.fixture(scope="session")
def board() -> Device:
    return get("raspberry-pi-4")


@dataclass(frozen=True)
class Whimsical(Backprop):
    """Runs a second time when it likes the loss: how much memory that takes nobody knows beforehand."""

    def step(self, step):
        loss = super().step(step)
        return super().step(step) if loss > 1 else loss


class WhimsicalMethod(Full):
    name = "whimsical"

    def parts(self, config):
        return replace(super().parts(config), estimator=Whimsical())


@pytest.fixture(scope="module")
def whimsical():
    """The name of a method whose step cannot be predicted; known while the tests of one file run."""
    methods.discover()
    methods.add("whimsical", WhimsicalMethod())
    yield "whimsical"
    del methods._items["whimsical"]
