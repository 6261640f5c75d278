"""A run that was stopped goes on to the bits it would have had, from tensors or from a journal, or says why not."""

from __future__ import annotations

import json
import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.case import Case
from workbench.checkpoints import content
from workbench.checkpoints.keeper import Checkpoints
from workbench.checkpoints.trees import grown, planted
from workbench.core.errors import BadInput, Interrupted, ResourceMissing
from workbench.core.schedule import Schedule
from workbench.records.schema import State
from workbench.records.store import RunStore
from workbench.session import Session, run
from workbench.tasks.base import Sizes

#: name: model, task, method, settings
RUNS = {
    "SGD": ("tiny-bert", "tokens", "full", {"optimizer": "sgd", "lr": 0.05}),
    "momentum": ("tiny-bert", "tokens", "full", {"optimizer": "momentum", "lr": 0.01}),
    "AdamW": ("tiny-bert", "tokens", "full", {}),
    "8-bit AdamW": ("tiny-bert", "tokens", "full", {"optimizer": "adamw8bit"}),
    "AdamW on a net with norms": ("tiny-cnn", "pixels", "full", {}),
    "LoRA": ("tiny-bert", "tokens", "lora", {}),
    "GaLore": ("tiny-bert", "tokens", "galore", {"rank": 8, "interval": 4}),
    "Natural GaLore": ("tiny-bert", "tokens", "natural-galore", {"rank": 8, "interval": 4}),
    "update in backward": ("tiny-bert", "tokens", "update-in-backward", {}),
    "captured graph": ("tiny-bert", "tokens", "lora", {"executor": "graph"}),
    "cached prefix": ("tiny-bert", "tokens", "last-blocks", {"prefix_cache": "ram"}),
    "bf16": ("tiny-bert", "tokens", "full", {"weights": "bf16"}),
    "channels last": ("tiny-cnn", "pixels", "full", {"channels_last": True}),
    "GreenTrainer": ("tiny-bert", "tokens", "green-trainer", {}),
    "GreenTrainer, chosen once at random": (
        "tiny-bert",
        "tokens",
        "green-trainer",
        {"select": "random", "interval": 0},
    ),
    "SlimFit": ("tiny-bert", "tokens", "slimfit", {}),
    "S2FT": ("tiny-bert", "tokens", "s2ft", {}),
    "MobileTL": ("tiny-cnn", "pixels", "mobile-tl", {}),
    "ZeroQAT": ("tiny-bert", "tokens", "zeroqat", {}),
    "zeroth-order": ("tiny-bert", "tokens", "mezo", {}),
    "zeroth-order with AdamW": ("tiny-bert", "tokens", "mezo", {"optimizer": "adamw"}),
}
STEPS = 11


def _session(name: str, folder: Path | None = None, every: int = 0, **more: object) -> Session:
    model, task, method, settings = RUNS[name]
    known = Case(task, model, method, 4).config
    given = {k: v for k, v in settings.items() if hasattr(known, k)}
    assert given == settings, f"{method} has no {set(settings) - set(given)}"
    case = Case(task, model, method, 4, 16 if task == "tokens" else None, settings=settings)
    kept = Checkpoints(folder, "key", every) if folder else Checkpoints()
    return Session(case, 3, None, Schedule(steps=STEPS), Sizes(18, 8), checkpoints=kept, **more)  # type: ignore[arg-type]


def _trained(session: Session, stop_after: int | None = None) -> list[float]:
    session.prepare()
    losses = []
    for step in session.steps():
        losses.append(step.loss)
        if len(losses) == stop_after:
            break  # as a kill would: nothing more is saved
    return losses


def _bits(session: Session) -> dict[str, bytes]:
    held = {**dict(session.model.named_parameters()), **dict(session.model.named_buffers())}
    floats = [t for t in held.values() if t.is_floating_point()]
    assert all(bool(t.isfinite().all()) for t in floats), "a diverged run compares equal whatever was done to it"
    return {n: t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for n, t in held.items()}


@pytest.mark.parametrize("name", RUNS)
def test_a_stopped_run_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = _session(name)
    losses = _trained(whole)
    first = _session(name, tmp_path / "kept", 3)
    assert _trained(first, stop_after=8) == losses[:8]
    again = _session(name, tmp_path / "kept", 3)
    assert _trained(again) == losses
    assert again.checkpoints.resumed == 6
    assert _bits(again) == _bits(whole)
    assert sorted(f.name for f in (tmp_path / "kept").glob("*")) == ["step-00000006", "step-00000009"]


def test_without_the_random_state_the_bits_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes the test above worth something: dropout draws, so a resume that forgets it must show."""
    whole = _session("AdamW")
    _trained(whole)
    _trained(_session("AdamW", tmp_path, 3), stop_after=8)
    monkeypatch.setattr(content, "set_random_states", lambda *_: None)
    again = _session("AdamW", tmp_path, 3)
    _trained(again)
    assert again.checkpoints.resumed == 6 and _bits(again) != _bits(whole)


def test_a_zeroth_order_checkpoint_holds_no_weights(tmp_path: Path) -> None:
    session = _session("zeroth-order", tmp_path, 3)
    _trained(session)
    kept = tmp_path / "step-00000009"
    assert (kept / "journal.bin").stat().st_size == 16 + 9 * 12
    tensors = sum((kept / f"{name}.safetensors").stat().st_size for name in ("weights", "optimizer"))
    weights = sum(p.nbytes for p in session.training.parameters)
    assert tensors < 200 and weights > 1_000_000
    assert sum(f.stat().st_size for f in kept.glob("*") if f.name != "state.json") < 20_000


@pytest.mark.parametrize("damage", ["flipped", "torn", "missing"])
@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json",
                                  "manifest.json"])  # fmt: skip
def test_a_damaged_newest_checkpoint_falls_back_and_says_so(file: str, damage: str, tmp_path: Path) -> None:
    whole = _session("LoRA")
    _trained(whole)
    _trained(_session("LoRA", tmp_path, 3), stop_after=9)
    victim = tmp_path / "step-00000009" / file
    raw = bytearray(victim.read_bytes())
    raw[len(raw) // 2] ^= 4
    {"flipped": lambda: victim.write_bytes(raw), "torn": lambda: victim.write_bytes(raw[: len(raw) // 2]),
     "missing": victim.unlink}[damage]()  # fmt: skip
    again = _session("LoRA", tmp_path, 3)
    _trained(again)
    assert again.checkpoints.resumed == 6
    assert "step 9 is damaged" in again.checkpoints.notes[0]
    assert _bits(again) == _bits(whole)
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_orphans_of_a_killed_writer_go_and_two_checkpoints_stay(tmp_path: Path) -> None:
    (tmp_path / "step-00000001-abcd.tmp").mkdir(parents=True)
    (tmp_path / "step-00000001-abcd.gone").mkdir()
    (tmp_path / "step-foreign").mkdir()
    _trained(_session("LoRA", tmp_path, 2))
    assert sorted(f.name for f in tmp_path.glob("*")) == ["step-00000008", "step-00000010", "step-foreign"]


def test_another_run_or_other_data_is_not_resumed(tmp_path: Path) -> None:
    _trained(_session("LoRA", tmp_path, 3), stop_after=6)
    other = _session("LoRA", tmp_path, 3)
    other.checkpoints.key = "another"
    _trained(other)
    assert other.checkpoints.resumed == 0


def test_a_cancelled_run_keeps_the_step_it_stopped_at(tmp_path: Path) -> None:
    session = _session("AdamW", tmp_path, 100)
    record = run(session, predict=False, on_step=lambda step: session.cancel.set() if step.step == 4 else None)
    assert len(record.steps) == 5
    again = run(_session("AdamW", tmp_path, 100), predict=False)
    whole = run(_session("AdamW"), predict=False)
    assert [s.loss for s in again.steps] == [s.loss for s in whole.steps]
    assert again.score == whole.score and again.measured == record.measured


def test_no_room_is_one_sentence_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _trained(_session("AdamW", tmp_path, 3), stop_after=3)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("workbench.checkpoints.keeper.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ResourceMissing, match=r"no room for the checkpoint of step 6.*step 3 is intact"):
        _trained(_session("AdamW", tmp_path, 3))
    assert [f.name for f in tmp_path.glob("*")] == ["step-00000003"]


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    first = _session("LoRA", tmp_path, 2)
    first.prepare()
    steps = first.steps()
    next(steps)
    second = _session("LoRA", tmp_path, 2)
    _trained(second)
    assert "another process" in second.checkpoints.notes[0]
    assert list(tmp_path.glob("step-*")) == []
    steps.close()


def test_the_callers_random_states_stay_its_own(tmp_path: Path) -> None:
    session = _session("AdamW", tmp_path, 2)
    session.prepare()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    list(session.steps())
    assert torch.equal(before[0], torch.get_rng_state())
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_what_is_drawn_between_two_steps_moves_neither_the_run_nor_the_callers_numbers() -> None:
    wanted, session = _trained(_session("AdamW")), _session("AdamW")
    session.prepare()
    random.seed(5)
    drawn = [random.random() for _ in range(STEPS)]
    random.seed(5)
    torch.manual_seed(5)
    found = []
    for step in session.steps():
        found.append(random.random())
        torch.rand(3)
        assert step.loss == wanted[step.step]
    assert found == drawn


def test_nested_state_comes_back_with_its_layout_and_sharing() -> None:
    table = torch.arange(4.0)
    state = {
        "step": torch.tensor(3.0),
        "turned": torch.arange(6.0).view(2, 3).t(),
        "gapped": torch.arange(8.0)[::2],
        "inner": {"list": [table, 1, None], "pair": (table, 0.1)},
        "empty": torch.empty(0),
    }
    tensors: dict[str, torch.Tensor] = {}
    tree = json.loads(json.dumps(planted(state, "s", tensors)))
    back = grown(tree, tensors)
    assert torch.equal(back["turned"], state["turned"]) and back["turned"].stride() == state["turned"].stride()
    assert torch.equal(back["gapped"], state["gapped"]) and back["step"] == 3
    assert back["inner"]["list"][1:] == [1, None] and back["inner"]["pair"][1] == 0.1
    assert back["inner"]["list"][0].data_ptr() == back["inner"]["pair"][0].data_ptr() != table.data_ptr()
    with pytest.raises(TypeError, match="cannot hold"):
        planted({"thing": object()}, "s", {})


def test_the_same_call_goes_on_and_forgets_what_it_no_longer_needs(tmp_path: Path) -> None:
    bench = replace(wb.open(budget="16 MiB", profile="quick", train=96, epochs=2), store=RunStore(tmp_path / "kept"))
    other = replace(bench, store=RunStore(tmp_path / "whole"))
    cancel = threading.Event()
    with pytest.raises(Interrupted, match="this one after step 5"):
        stop = lambda progress: progress.step and progress.step.step == 4 and cancel.set()  # noqa: E731
        bench.run("lora", checkpoint_every=2, cancel=cancel, observe=stop)
    (folder,) = (tmp_path / "kept" / "checkpoints").glob("*[!k]")
    assert sorted(f.name for f in folder.iterdir()) == ["step-00000004", "step-00000005"]
    record = bench.run("lora", checkpoint_every=2)
    assert record.state is State.DONE and "resumed after step 5" in record.notes
    assert [s.loss for s in record.steps] == [s.loss for s in other.run("lora").steps]
    assert list((tmp_path / "kept" / "checkpoints").iterdir()) == []
    for wrong in (-1, 1.5, True):
        with pytest.raises(BadInput, match="checkpoint_every"):
            bench.run("lora", checkpoint_every=wrong)
    words = bench.run_command("lora", checkpoint_every=2), bench.run_python("lora", checkpoint_every=2)
    assert "--checkpoint-every 2" in words[0] and "checkpoint_every=2" in words[1]
