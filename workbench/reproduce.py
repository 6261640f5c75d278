"""How a bench, a run or a grid is asked for again: its parameters, the command line, the Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.units import format_exactly

if TYPE_CHECKING:
    from workbench.core.schedule import Schedule
    from workbench.devices.model import Device
    from workbench.profiles import RunProfile
    from workbench.tasks.base import Sizes


class Reproducible:
    """What :class:`workbench.bench.Bench` can say of itself; every name and value is resolved."""

    task: str
    model: str
    device: Device
    budget: int
    batch: int
    length: int | None
    schedule: Schedule
    sizes: Sizes
    profile: RunProfile
    held_out: str

    def parameters(self, methods: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
        """Every parameter of a comparison with its resolved value."""
        return {
            "profile": self.profile.name,
            "task": self.task,
            "model": self.model,
            "device": self.device.name,
            "budget": format_exactly(self.budget),
            "methods": list(methods),
            "seeds": list(seeds),
            "batch": self.batch,
            "train": self.sizes.train or 0,
            "test": self.sizes.test or 0,
            "epochs": self.schedule.epochs,
        }

    def command(self, methods: Sequence[str], seeds: Sequence[int]) -> str:
        """The command that makes this comparison again, quoted for a shell."""
        words = ["pintpot", "report", "compare-methods"]
        for name, value in self.parameters(methods, seeds).items():
            words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join(words)

    def run_command(
        self,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        cosines: int = 0,
        **settings: Any,
    ) -> str:
        """The command that makes one run again; it finds the stored one. Empty for a number of steps or for examples
        set aside, which the command line does not take."""
        if self.schedule.steps is not None or self.sizes.validation is not None:
            return ""
        words = ["pintpot", "run", "--method", method, "--seed", str(seed)]
        for name, value in self._opened().items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--accumulate", str(accumulate)] if accumulate > 1 else []
        words += ["--arena"] if arena else []
        words += ["--checkpoint-every", str(checkpoint_every)] if checkpoint_every else []
        words += ["--cosines", str(cosines)] if cosines else []
        for name, value in settings.items():
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join(words)

    def run_python(
        self,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        cosines: int = 0,
        **settings: Any,
    ) -> str:
        """The same run in Python."""
        plain = {"accumulate": 1, "arena": False, "checkpoint_every": 0, "cosines": 0}
        chosen = dict(zip(plain, (accumulate, arena, checkpoint_every, cosines)))
        settings = {**{name: value for name, value in chosen.items() if value != plain[name]}, **settings}
        opened = {**self._opened(), **({"steps": self.schedule.steps} if self.schedule.steps is not None else {})}
        more = "".join(f", {name}={value!r}" for name, value in settings.items())
        arguments = ", ".join(f"{name}={value!r}" for name, value in opened.items())
        aside = f".validating({self.sizes.validation})" if self.sizes.validation is not None else ""
        opening = f"import workbench as wb\n\nbench = wb.open({arguments}){aside}\n"
        return f"{opening}record = bench.run({method!r}, {seed}{more})\n"

    def _opened(self) -> dict[str, Any]:
        """What :func:`open` is given to make this bench."""
        values = {
            "task": self.task,
            "model": self.model,
            "device": self.device.name,
            "budget": format_exactly(self.budget),
            "batch": self.batch,
            "length": self.length,
            "profile": self.profile.name,
            "train": self.sizes.train,
            "test": self.sizes.test,
            "epochs": self.schedule.epochs,
            "held_out": self.held_out or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def ablate_command(self, axes: Mapping[str, Sequence[Any]], reference: Sequence[str] = ()) -> str:
        """The command that runs what is missing of a grid, methods in ``reference`` without the budget where they pass
        it. Empty for a number of steps, which the command line does not take."""
        if self.schedule.steps is not None:
            return ""
        words = ["pintpot", "ablate"]
        words += [f"{name}={','.join(str(value) for value in values)}" for name, values in axes.items()]
        for name, value in self._opened().items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--reference", ",".join(reference)] if reference else []
        return shlex.join(words)
