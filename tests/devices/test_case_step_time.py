"""Step time of a case: predicted from timed operators on this host, by roofline elsewhere, absent where unknown."""

from __future__ import annotations

import json

import pytest

from workbench.case import Case
from workbench.core.errors import ResourceMissing
from workbench.devices import get
from workbench.devices.host import calibration_file
from workbench.devices.model import HOST
from workbench.devices.record import CLASSES
from workbench.plan.fit_table import fit
from workbench.plan.verdict import on_device
from workbench.predictions import predicted_step_time

CASE = Case("tokens", "tiny-bert", "full", 2, 8)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))


def calibrated(active: float | None = 10.0) -> None:
    """A calibration as the product stores it, with round numbers."""
    number = {"value": 1e9, "kind": "measured", "source": "this test"}
    device = {
        "title": "host", "category": "host", "doc": "x", "throughput": {"fp32": number}, "calibrated": True,
        "memory": {"name": "memory", "size": number, "bandwidth": number}, "reserved": number,
        "efficiency": {**number, "value": 1.0}, "power": {"active": {**number, "value": active}} if active else {},
    }  # fmt: skip
    calls = {"costs": dict.fromkeys(CLASSES, 1e-6), "pace": 8e-3}
    calibration_file().parent.mkdir(parents=True, exist_ok=True)
    calibration_file().write_text(json.dumps({"device": device, "when": "now", "calls": {"1": calls, "2": calls}}))


def test_without_a_calibration_it_is_refused_and_the_verdict_has_none() -> None:
    with pytest.raises(ResourceMissing, match="pintpot devices calibrate"):
        predicted_step_time(CASE)
    verdict = fit([CASE], get(HOST), 1 << 30, step_times=True)[0]
    assert verdict.fits == "fits"
    assert verdict.step_time.value is None


def test_on_this_host_it_is_predicted_and_cached() -> None:
    calibrated()
    first = predicted_step_time(CASE)
    assert first.kind == "predicted"
    assert 1e-4 < first.value < 10
    assert predicted_step_time(CASE) == first
    verdict = fit([CASE], get(HOST), 1 << 30, step_times=True)[0]
    assert verdict.step_time == first
    assert verdict.step_energy.value == pytest.approx(10 * first.value)


def test_without_power_there_is_no_energy() -> None:
    calibrated(active=None)
    verdict = fit([CASE], get(HOST), 1 << 30, step_times=True)[0]
    assert verdict.step_time.value > 0
    assert verdict.step_energy.value is None


def test_elsewhere_it_is_a_roofline() -> None:
    calibrated()
    seconds, joules = on_device(CASE, get("raspberry-pi-4"))
    assert seconds.kind == joules.kind == "extrapolated"
    assert joules.value == pytest.approx(6.4 * seconds.value)
    assert fit([CASE], get("raspberry-pi-4"), 1 << 30)[0].step_time == seconds


def test_a_run_records_the_step_on_the_chosen_device() -> None:
    from workbench.core.schedule import Schedule
    from workbench.session import Session, run
    from workbench.tasks.base import Sizes

    session = Session(CASE, schedule=Schedule(steps=2), sizes=Sizes(train=8, test=4))
    record = run(session, device="raspberry-pi-4")
    assert record.device_step_time == on_device(CASE, get("raspberry-pi-4"))[0]
    assert record.device_step_energy.value > 0


@pytest.mark.parametrize(
    ("method", "settings"), [("mezo", {}), ("last-blocks", {"weights": "prefix-int8"})], ids=["noise", "int8"]
)
def test_operators_of_our_own_are_timed_in_the_other_process_too(method, settings) -> None:
    from workbench.core.errors import Incompatible

    calibrated()
    case = Case("tokens", "tiny-bert", method, 2, 8, settings=settings)
    try:
        case.predict()
    except Incompatible as error:
        pytest.skip(str(error))  # a processor without int8 products
    assert "not timed" not in predicted_step_time(case).note
