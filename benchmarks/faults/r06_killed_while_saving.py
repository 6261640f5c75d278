"""R6: savers killed while they save, and single bits flipped in what they saved."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from faults.children import child
from faults.damage import flip
from faults.frame import Experiment, Figures, Setting
from workbench.records.sealed import Damaged, clear_orphans, sealing, unsealed

Save = Callable[[Path, int], None]
MEGABYTES = 8


def _tensors(number: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((MEGABYTES * 1024, 256), float(number)), "bias": torch.full((256,), float(number))}


def _sealed(folder: Path, number: int) -> None:
    with sealing(folder, f"step-{number:08}", {"step": number}) as aside:
        save_file(_tensors(number), aside / "weights.safetensors")
    for old in sorted(f for f in folder.glob("step-*") if not f.suffix)[:-2]:
        shutil.rmtree(old)


def _torch_in_place(folder: Path, number: int) -> None:
    torch.save(_tensors(number), folder / "checkpoint.pt")


def _safetensors(folder: Path, number: int) -> None:
    save_file(_tensors(number), folder / "checkpoint.safetensors")


def _saving(says: Connection, save: Save, folder: Path, first: int) -> None:
    torch.set_num_threads(1)
    for number in range(first, first + 1000):
        save(folder, number)
        says.send(number)


def _read_sealed(folder: Path) -> int:
    """The newest state that verifies; raises when there is none."""
    for kept in sorted((f for f in folder.glob("step-*") if not f.suffix), reverse=True):
        try:
            number: int = unsealed(kept)["step"]
            _check(load_file(kept / "weights.safetensors"), number)
            return number
        except Damaged:
            continue
    raise Damaged("nothing is left")


def _check(found: dict[str, torch.Tensor], number: int) -> None:
    if not all(torch.equal(found[name], tensor) for name, tensor in _tensors(number).items()):
        raise Damaged("other numbers than were saved")


def _read_torch(folder: Path) -> int:
    found = torch.load(folder / "checkpoint.pt", weights_only=True)
    _check(found, int(found["bias"][0]))
    return int(found["bias"][0])


def _read_safetensors(folder: Path) -> int:
    found = load_file(folder / "checkpoint.safetensors")
    _check(found, int(found["bias"][0]))
    return int(found["bias"][0])


def _killed(setting: Setting, save: Save, read: Callable[[Path], int]) -> Figures:
    """Kill a saver at a random moment after its second save, again and again in one folder."""
    chance, folder = random.Random(setting.seed), setting.folder
    destroyed = lost = halves = 0
    last, took = 0, 0.03
    for _ in range(setting.size):
        running = child(_saving, save, folder, last + 1)
        assert running.hear() is not None
        started = time.monotonic()
        newest = running.hear()
        took = time.monotonic() - started
        time.sleep(chance.uniform(0, 2 * took))
        newest = max([newest, *running.kill()])
        if save is _sealed:
            halves += clear_orphans(folder)  # as the next start does
        try:
            last = read(folder)
            lost += last < newest
        except Exception:  # whatever a reader meets in half a file
            destroyed += 1
            last = newest
    found: Figures = {"kills": setting.size, "destroyed": destroyed, "acknowledged but lost": lost}
    if save is _sealed:
        found |= {"in the middle of a save": halves, "orphans left": len([f for f in folder.iterdir() if f.suffix])}
    else:
        found["left over MB"] = round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6 - MEGABYTES * 1.048576)
    return found


def _flips(setting: Setting, save: Save, file: str, read: Callable[[Path], int]) -> Figures:
    """Flip one random bit, read, put it back; how often the reader noticed."""
    chance, count = random.Random(setting.seed), setting.size * 12
    folder = setting.folder / "flips"
    folder.mkdir()
    save(folder, 1)
    noticed = 0
    names = [f for f in folder.rglob("*") if f.is_file()]
    for _ in range(count):
        victim = chance.choice(names) if not file else folder / file
        raw = victim.read_bytes()
        flip(victim, chance)
        try:
            read(folder)
        except Exception:
            noticed += 1
        victim.write_bytes(raw)
    return {"flips": count, "detected": noticed}


def _sealed_small(folder: Path, number: int) -> None:
    with sealing(folder, f"step-{number:08}", {"step": number}) as aside:
        save_file({"weight": torch.full((1024, 16), 1.0)}, aside / "weights.safetensors")


def _seen_by_sealed(folder: Path) -> int:
    unsealed(folder / "step-00000001")
    return 1


def _torch_small(folder: Path, number: int) -> None:
    torch.save({"weight": torch.full((1024, 16), 1.0)}, folder / "checkpoint.pt")


def _safetensors_small(folder: Path, number: int) -> None:
    save_file({"weight": torch.full((1024, 16), 1.0)}, folder / "checkpoint.safetensors")


def ours(setting: Setting) -> Figures:
    return _killed(setting, _sealed, _read_sealed) | _flips(setting, _sealed_small, "", _seen_by_sealed)


def torch_in_place(setting: Setting) -> Figures:
    return _killed(setting, _torch_in_place, _read_torch) | _flips(
        setting, _torch_small, "checkpoint.pt", lambda f: bool(torch.load(f / "checkpoint.pt", weights_only=True))
    )


def safetensors_in_place(setting: Setting) -> Figures:
    return _killed(setting, _safetensors, _read_safetensors) | _flips(
        setting, _safetensors_small, "checkpoint.safetensors", lambda f: bool(load_file(f / "checkpoint.safetensors"))
    )


EXPERIMENT = Experiment(
    name="R6",
    test=f"a saver of {MEGABYTES} MB is killed while it saves; 12 single bits a kill are flipped in what was saved",
    target="no state destroyed, none that was acknowledged lost, every flip detected, no orphan after the next start",
    unit="kills",
    short=10,
    long=125,
    ours=ours,
    met=lambda f: f["destroyed"] == f["acknowledged but lost"] == f.get("orphans left", 0) == 0
    and f["detected"] == f["flips"] and f.get("in the middle of a save", 1) > 0,
    controls={"torch.save in place": torch_in_place},
    peers={"safetensors": safetensors_in_place},
)  # fmt: skip
