"""Records that hold a prediction alone say what a step takes on the device, as the fit explorer does."""

import pytest

import workbench as wb
from workbench import figures
from workbench.lens.predicted import predicted


def test_a_predicted_record_has_the_time_and_energy_of_the_device():
    bench = wb.open("tokens", "tiny-bert", "raspberry-pi-4", "64MiB", batch=4, length=12)
    records = predicted(bench, ["head", "bias"])
    verdicts = {v.method: v for v in bench.fit(["head", "bias"])}
    for record in records:
        verdict = verdicts[record.method]
        assert record.device_step_time.kind == verdict.step_time.kind == "extrapolated"
        assert record.device_step_time.value == pytest.approx(verdict.step_time.value)
        assert record.device_step_energy.value == pytest.approx(verdict.step_energy.value)
    row = figures.split(records, bench.budget).rows[0]
    assert "ms" in row["device_time_text"] and "J" in row["device_energy_text"]
