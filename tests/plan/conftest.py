"""Cases of a tiny model, small enough to predict by the dozen."""

from __future__ import annotations

import pytest

from workbench.case import Case
from workbench.devices.model import Device, get


@pytest.fixture(scope="session")
def small() -> Case:
    return Case("tokens", "tiny-bert", "full", 8, 16)


@pytest.fixture(scope="session")
def board() -> Device:
    return get("raspberry-pi-4")
