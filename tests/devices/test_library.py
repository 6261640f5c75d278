"""Every device file is complete, every number says its kind and source, and asking wrongly is answered plainly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.core.errors import UnknownName
from workbench.devices import devices, get
from workbench.devices.model import HOST, KINDS, LIBRARY, parse, quantity

SHIPPED = sorted(path.stem for path in LIBRARY.glob("*.toml"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))


def test_there_are_at_least_thirteen_with_this_host() -> None:
    names = [device.name for device in devices()]
    assert len(names) >= 13
    assert HOST in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_number_has_kind_and_source(name) -> None:
    device = get(name)
    found = dict(device.quantities())
    assert len(found) >= 6
    for where, number in found.items():
        assert number.kind in KINDS, where
        assert len(number.note) > 3, where
        assert number.value is not None and number.value > 0, where
    assert device.memory.bandwidth is not None
    assert "fp32" in device.throughput
    assert device.doc and device.title and device.category


@pytest.mark.parametrize("name", SHIPPED)
def test_budget_and_marks(name) -> None:
    device = get(name)
    assert 0 < device.budget < device.memory.size.value
    sizes = [size for size, _ in device.marks]
    assert sizes == sorted(sizes)
    assert device.budget in sizes


def test_known_sizes() -> None:
    assert get("stm32f746").memory.size.value == 320 * 1024
    assert next(t for t in get("stm32f746").tiers if t.name == "flash").size.value == 1 << 20
    assert get("rtx-4090-nvme").memory.size.value == 24 << 30
    assert any(t.name == "NVMe" for t in get("rtx-4090-nvme").tiers)


def test_unknown_device_names_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        get("raspbery-pi-4")
    assert "raspberry-pi-4" in caught.value.nearest


def test_this_host_says_it_is_not_calibrated() -> None:
    host = get(HOST)
    assert not host.calibrated
    assert "pintpot devices calibrate" in host.doc
    assert host.budget > 0
    assert not host.throughput
    assert host.active is None


@pytest.mark.parametrize(
    "raw",
    [{"value": 1}, {"value": 1, "kind": "guess", "source": "x"}, {"value": 1, "kind": "assumed", "source": " "}],
)
def test_a_number_without_provenance_is_refused(raw) -> None:
    with pytest.raises(ValueError, match="source"):
        quantity(raw, "here")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        parse({"colour": "green"}, "x")


def test_the_library_needs_no_torch() -> None:
    code = "import sys; from workbench.devices import devices; devices(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_a_budget_a_small_device_is_not_taken_for_a_large_one() -> None:
    import workbench as wb

    assert wb.open("digits", "tiny-cnn", "stm32f746", profile="quick").budget == get("stm32f746").budget
    assert wb.open("digits", "tiny-cnn", "laptop", profile="quick").budget == 11 * 2**20
