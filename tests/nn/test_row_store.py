"""Rows in a file: what a kill tears or a disk damages counts as missing, never as a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from workbench.nn.row_store import KEY, RowsInFile, RowsInMemory, rows_in_file

SIZE = 1000
RECORD = KEY + 4 + SIZE * 4


def _key(number: int) -> bytes:
    return number.to_bytes(KEY, "little")


def _row(number: int) -> torch.Tensor:
    return torch.full((1, SIZE), float(number))


def _open(path, most=64):
    return RowsInFile(path, SIZE, torch.float32, most)


def _filled(path, count):
    store = _open(path)
    for number in range(count):
        store.put([_key(number)], _row(number))
    store.close()


def _intact(store, numbers):
    """Of ``numbers`` those the store has; each one it has must be exactly the row that was put."""
    rows, missing = store.get([_key(n) for n in numbers])
    for position, number in enumerate(numbers):
        if position not in missing:
            assert torch.equal(rows[position], _row(number)[0])
    return [n for position, n in enumerate(numbers) if position not in missing]


def test_rows_outlive_the_process_that_wrote_them(tmp_path):
    path = tmp_path / "rows"
    _filled(path, 5)
    assert _intact(_open(path), [0, 4, 7, 2]) == [0, 4, 2]
    assert path.stat().st_size == 5 * RECORD


@pytest.mark.parametrize("cut", [1, 700, RECORD - 1])
def test_a_truncated_file_loses_its_last_row_and_gets_it_again(tmp_path, cut):
    path = tmp_path / "rows"
    _filled(path, 3)
    os.truncate(path, 3 * RECORD - cut)
    store = _open(path)
    assert _intact(store, [0, 1, 2]) == [0, 1]
    store.put([_key(2)], _row(2))
    store.close()
    assert _intact(_open(path), [0, 1, 2]) == [0, 1, 2]
    assert path.stat().st_size == 3 * RECORD


@pytest.mark.parametrize("at", [0, KEY, KEY + 4, RECORD // 2, RECORD - 1])
def test_a_flipped_byte_anywhere_in_a_record_is_noticed_and_mended(tmp_path, at):
    path = tmp_path / "rows"
    _filled(path, 3)
    content = bytearray(path.read_bytes())
    content[RECORD + at] ^= 0x10
    path.write_bytes(content)
    store = _open(path)
    assert _intact(store, [0, 1, 2]) == [0, 2]
    store.put([_key(1)], _row(1))
    store.close()
    assert _intact(_open(path), [0, 1, 2]) == [0, 1, 2]


_WRITER = """
import sys, torch
from pathlib import Path
from workbench.nn.row_store import KEY, RowsInFile
store = RowsInFile(Path(sys.argv[1]), 1000, torch.float32, 10**6)
print("begun", flush=True)
for number in range(10**6):
    store.put([number.to_bytes(KEY, "little")], torch.full((1, 1000), float(number)))
"""


def test_a_writer_killed_at_work_leaves_only_whole_rows(tmp_path):
    path = tmp_path / "rows"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
    while path.stat().st_size < 50 * RECORD:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    store = _open(path, most=10**6)
    count = len(store.slots)
    assert count >= 49 and store.writes, "the lock went with the process"
    assert _intact(store, list(range(count))) == list(range(count))


def test_one_process_writes_and_others_read(tmp_path):
    path = tmp_path / "rows"
    _filled(path, 2)
    first, second = _open(path), _open(path)
    assert first.writes and not second.writes
    second.put([_key(9)], _row(9))
    assert _intact(second, [0, 9]) == [0] and path.stat().st_size == 2 * RECORD
    first.close()
    assert _open(path).writes


def test_runs_of_one_process_share_an_open_file(tmp_path):
    first = rows_in_file(tmp_path / "rows", SIZE, torch.float32, 2)
    second = rows_in_file(tmp_path / "rows", SIZE, torch.float32, 8)
    assert second is first and first.writes and first.most == 8
    del first, second
    assert rows_in_file(tmp_path / "rows", SIZE, torch.float32, 2).most == 2


def test_no_more_rows_than_allowed(tmp_path):
    store = _open(tmp_path / "rows", most=2)
    memory = RowsInMemory(torch.empty(2, SIZE))
    for rows in (store, memory):
        for number in range(4):
            rows.put([_key(number)], _row(number))
        assert _intact(rows, [0, 1, 2, 3]) == [0, 1]
    assert (tmp_path / "rows").stat().st_size == 2 * RECORD


def test_a_full_disk_ends_the_filling_only(tmp_path, monkeypatch):
    store = _open(tmp_path / "rows")
    store.put([_key(0)], _row(0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    store.put([_key(1)], _row(1))
    assert _intact(store, [0, 1]) == [0]
