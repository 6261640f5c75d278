"""Run a recorded step's operators in their order on stand-in tensors and time them, in a process of its own.

    python -m workbench.devices.replay FILE SECONDS

Its own process, because what the C library kept from earlier work decides which blocks of memory a step has to
get from the system anew.
"""

from __future__ import annotations

import json
import mmap
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from workbench.core.errors import ResourceMissing
from workbench.core.operators import fetch
from workbench.core.units import format_size
from workbench.devices.pace import pace, step_clock
from workbench.devices.tape import GENERATOR, Given, Line, Program

PHASES = ("forward", "backward", "update")
_BLOCKS = 3  #: spells of timing, each between two looks at the pace
_POOL = 1 << 20  #: made-up numbers, used over and over


def _operator(name: str) -> Any:
    """The operator of a qualified name such as ``aten::add.Tensor``; ``None`` when this process has none such."""
    namespace, _, rest = name.partition("::")
    packet, _, overload = rest.partition(".")
    try:
        return getattr(getattr(getattr(torch.ops, namespace), packet), overload or "default")
    except AttributeError:
        return None


def _storage(given: Given, pool: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """``row``, the memory of a given tensor's whole storage, filled with plausible numbers of its dtype."""
    if not given.dtype.is_floating_point:
        return row.zero_()
    if given.state:
        return row.fill_(1e-4)
    if len(given.shape) < 2:
        return row.fill_(0.5)
    for part in row.split(_POOL):
        part.copy_(pool[: part.numel()])
    return row


def _memory(given: Given) -> torch.Tensor:
    return torch.empty(given.size // given.dtype.itemsize, dtype=given.dtype)


def _memory_apart(given: Given) -> torch.Tensor:
    """Memory from the system itself, which leaves no hole among the C library's blocks when it goes."""
    if not given.size:
        return _memory(given)
    return torch.frombuffer(mmap.mmap(-1, given.size), dtype=given.dtype, count=given.size // given.dtype.itemsize)


def stand_ins(
    program: Program, wanted: Callable[[Given], bool] = lambda given: True, memory: Callable[[Given], Any] = _memory
) -> list[torch.Tensor]:
    """Tensors in the place of those that the step finds and that are ``wanted``.

    Every storage is made once, every tensor lies on its own part of it.
    """
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0)) * 0.02
    rows: dict[int, torch.Tensor] = {}
    made = []
    for given in filter(wanted, program.given):
        row = rows.get(given.storage)
        if row is None:
            row = rows[given.storage] = _storage(given, pool, memory(given))
        tensor = row.view(given.dtype).as_strided(given.shape, given.stride, given.offset)
        if given.values is not None:
            tensor.copy_(given.values)
        made.append(tensor)
    return made


def compiled(program: Program, given: list[torch.Tensor]) -> tuple[Callable[..., None], list[str], int]:
    """The program as a function that has run on ``given`` once.

    A call that cannot be made here is replaced by what it would have left behind; the names of those operators
    and the bytes their calls move come with it.
    """
    for home in sorted(program.homes):
        fetch(home)
    names: dict[str, Any] = {f"o{i}": _operator(name) for i, name in enumerate(program.operators)}
    for i, value in enumerate(program.constants):
        names[f"c{i}"] = torch.Generator() if isinstance(value, str) and value == GENERATOR else value
    names |= {"empty_strided": torch.empty_strided, "torch": torch}
    program = replace(program, lines=list(program.lines))
    failed: list[Line] = []
    while True:
        exec(compile(program.source, "<step>", "exec"), names)
        step = names["step"]
        try:
            step(given, lambda phase: None)
        except Exception as error:
            at = _failing(error)
            line = program.lines[at - program.first_line] if at is not None else Line("")
            if not line.operator:
                raise
            failed.append(line)
            program.lines[at - program.first_line] = Line(line.stand_in)  # type: ignore[operator]
            continue
        return step, sorted({line.operator for line in failed}), sum(line.bytes for line in failed)


def _failing(error: BaseException) -> int | None:
    """Line of the program that raised."""
    trace, found = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<step>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def with_state(program: Program, step: Callable[..., None], given: list[torch.Tensor]) -> list[torch.Tensor]:
    """``given`` with the optimizer's state in memory that was got as a first update gets it, while gradients live.

    Where state lies decides whether the C library gives the memory of gradients back to the system after each step,
    and so whether the next step pays for its pages again: a third of the time of a large model's step.
    """
    states: list[torch.Tensor] = []

    def mark(phase: str) -> None:
        if phase == "update" and not states:
            states.extend(stand_ins(program, lambda one: one.state))

    step(given, mark)
    left = iter(states or stand_ins(program, lambda one: one.state))
    return [next(left) if one.state else tensor for one, tensor in zip(program.given, given, strict=True)]


def timed(step: Callable[..., None], given: list[torch.Tensor]) -> dict[str, float]:
    """Seconds of one run by phase."""
    clock = step_clock()
    spent = dict.fromkeys(PHASES, 0.0)
    current, since = "", 0.0

    def mark(phase: str) -> None:
        nonlocal current, since
        now = clock()
        if current:
            spent[current] += now - since
        current, since = phase, now

    step(given, mark)
    mark("")
    return spent


def in_units_of_pace(run: Callable[[], dict[str, float]], seconds: float) -> list[dict[str, float]]:
    """Timings of repeated runs of ``run``, each over the pace around it, for about ``seconds``.

    The first run after a look at the pace does not count: that look emptied the caches. Of a long step there are
    two spells only.
    """
    found = []
    clock = step_clock()
    start = clock()
    run()
    blocks = _BLOCKS if clock() - start < seconds else 2
    before = pace(3)
    for _ in range(blocks):
        run()
        until = clock() + seconds / blocks
        raw = [run()]
        while clock() < until:
            raw.append(run())
        after = pace(3)
        found += [{k: 2 * v / (before + after) for k, v in one.items()} for one in raw]
        before = after
    return found


def replay(program: Program, seconds: float = 1.0) -> dict[str, Any]:
    """Median time of each phase in units of the pace, and what could not be replayed. In this process."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        given = stand_ins(program, memory=lambda one: _memory_apart(one) if one.state else _memory(one))
        step, failed, moved = compiled(program, given)
        given = with_state(program, step, given)
        runs = in_units_of_pace(lambda: timed(step, given), seconds)
    medians = {phase: statistics.median(run[phase] for run in runs) for phase in PHASES}
    return {"phases": medians, "runs": len(runs), "failed": failed, "moved": moved}


def replay_apart(program: Program, seconds: float = 1.0) -> dict[str, Any]:
    """:func:`replay` in a fresh process with the same number of threads.

    Raises ``ResourceMissing`` when the step does not fit the free memory.
    """
    import psutil

    free = psutil.virtual_memory().available
    if program.peak > 0.9 * free:
        needed = f"the step's tensors take {format_size(program.peak)}, {format_size(free)} are free here"
        raise ResourceMissing(f"{needed}: it cannot be timed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program"
        file.write_bytes(pickle.dumps(program))
        command = [sys.executable, "-m", __name__, str(file), str(seconds), str(torch.get_num_threads())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ResourceMissing(f"the step's operators could not be run here: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(replay(pickle.loads(Path(sys.argv[1]).read_bytes()), float(sys.argv[2]))))
