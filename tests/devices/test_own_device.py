"""A device of the user's own is a file like the shipped ones; one that will not do is refused in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from workbench.core.errors import BadInput
from workbench.devices import devices, get, load
from workbench.devices.model import LIBRARY


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_DEVICES", "")
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "my-board.toml"
    path.write_text((LIBRARY / "raspberry-pi-4.toml").read_text())
    return path


def test_a_loaded_board_is_a_device_here_and_in_processes_started_later(board):
    made = load(board)
    assert get("my-board") == made and made.budget == get("raspberry-pi-4").budget
    assert "my-board" in [d.name for d in devices()]
    code = "from workbench.cli import main; main()"
    listed = subprocess.run([sys.executable, "-c", code, "devices", "--json"], capture_output=True, text=True)
    assert "my-board" in {d["name"] for d in json.loads(listed.stdout)}, listed.stderr


def test_an_edited_board_is_read_again(board):
    assert load(board).active.value == 6.4
    board.write_text(board.read_text().replace("value = 6.4", "value = 12.5"))
    assert get("my-board").active.value == 12.5


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('kind = "measured"', 'kind = "certain"', ["kind among measured, datasheet, assumed", "idle"]),
        ('title = "Raspberry Pi 4 Model B, 4 GB"', "", ["says title"]),
        ("[efficiency]", "[effiziency]", ["unknown field effiziency"]),
        ('"4 GiB"', '"4 gallons"', ["4 gallons"]),
        ("[memory]", "[memory", ["my-board.toml"]),
        ("value = 48e9", 'value = "fast"', ["fast"]),
        ("value = 48e9", "value = nan", ["throughput.fp32", "finite"]),
        ("value = 25e-6", "value = -1", ["overhead", "above zero"]),
        ('"600 MiB"', '"4 GiB"', ["reserved", "nothing is left"]),
    ],
)
def test_a_file_that_will_not_do_is_refused(board, old, new, words):
    board.write_text(board.read_text().replace(old, new, 1))
    with pytest.raises(BadInput) as refused:
        load(board)
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value), refused.value
    assert not os.environ["PINTPOT_DEVICES"]


def test_names_of_shipped_devices_and_absent_files_are_refused(board):
    taken = board.with_name("laptop.toml")
    taken.write_text(board.read_text())
    for file in (taken, board.with_name("nowhere.toml"), board.with_suffix(".txt")):
        with pytest.raises(BadInput, match="device file"):
            load(file)
