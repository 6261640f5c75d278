"""A sealed directory is whole or not there, and any bit that changes in it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.records.sealed import MANIFEST, Damaged, clear_orphans, remove, sealing, set_aside, unsealed


def _seal(parent: Path, name: str, text: str) -> Path:
    with sealing(parent, name, {"step": 3}) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "b.bin").write_bytes(b"\x00" * 40)
    return parent / name


def test_every_single_bit_of_every_file_counts(tmp_path: Path) -> None:
    kept = _seal(tmp_path, "state", "some text")
    assert unsealed(kept) == {"step": 3}
    for file in kept.iterdir():
        raw = file.read_bytes()
        for bit in range(0, 8 * len(raw), 3):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            file.write_bytes(changed)
            with pytest.raises(Damaged):
                unsealed(kept)
        file.write_bytes(raw)
    assert unsealed(kept) == {"step": 3}


def test_what_is_missing_or_cut_short_is_named(tmp_path: Path) -> None:
    kept = _seal(tmp_path, "state", "some text")
    (kept / "a.txt").write_text("some")
    with pytest.raises(Damaged, match=r"a\.txt has 4 of 9 bytes"):
        unsealed(kept)
    (kept / "a.txt").unlink()
    with pytest.raises(Damaged, match=r"a\.txt is missing"):
        unsealed(kept)
    (kept / MANIFEST).unlink()
    with pytest.raises(Damaged, match="cannot be read"):
        unsealed(kept)


def test_an_exception_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    kept = _seal(tmp_path, "state", "first")
    with pytest.raises(RuntimeError), sealing(tmp_path, "state", {}) as folder:
        (folder / "a.txt").write_text("half of the sec")
        raise RuntimeError
    assert (kept / "a.txt").read_text() == "first" and [f.name for f in tmp_path.iterdir()] == ["state"]
    assert (_seal(tmp_path, "state", "second") / "a.txt").read_text() == "second"


def test_orphans_go_and_damaged_ones_stay_under_another_name(tmp_path: Path) -> None:
    kept = _seal(tmp_path, "state", "text")
    aside = set_aside(kept)
    (tmp_path / "state-1234.tmp").mkdir()
    assert clear_orphans(tmp_path) == 1 and [f.name for f in tmp_path.iterdir()] == [aside.name]
    remove(_seal(tmp_path, "state", "text"))
    assert [f.name for f in tmp_path.iterdir()] == [aside.name]
    assert clear_orphans(tmp_path / "absent") == 0
