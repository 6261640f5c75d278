"""Calibrating this host makes it a device like any other."""

from __future__ import annotations

import pytest

from workbench.bench import open as open_bench
from workbench.devices import get
from workbench.devices.calibrate import calibrate, calibrated
from workbench.devices.record import CLASSES
from workbench.devices.step_time import overheads
from workbench.studies.step_times import step_times


@pytest.mark.slow
def test_quick_calibration(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    made = calibrate(quick=True)
    host = get("this-host")
    assert host.calibrated
    assert host.throughput == made.throughput
    assert all(q.kind == "measured" and "torch" in q.note for q in host.throughput.values())
    assert host.throughput["fp32"].value > 1e8
    assert set(overheads()) == set(CLASSES)
    assert host.active is not None or any("power is not known" in note for note in host.notes)

    # What is stored is taken as it is, and is enough to hold a prediction against the clock.
    assert calibrated(quick=True).throughput == made.throughput
    (one,) = step_times(open_bench("pixels", "tiny-cnn", "raspberry-pi-4", "1GiB", batch=2), ["head"], seconds=0.3)
    assert (one.predicted.kind, one.measured.kind, one.elsewhere.kind) == ("predicted", "measured", "extrapolated")
    assert 0.1 < one.predicted.value / one.measured.value < 10  # a wrong unit, not a busy machine
    assert one.error == one.predicted.value / one.measured.value - 1
