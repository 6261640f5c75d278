"""What leaves the factory: a float net trained on the host, kept in a folder, to be quantized and tuned on a device."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput, Incompatible

if TYPE_CHECKING:
    from workbench.bench import Bench

OWN = ("efficientnet-lite", "denoiser")  #: types of model that can be kept in a folder and read from there


def factory_model(
    bench: Bench, *, epochs: float = 10, seed: int = 0, progress: Callable[[str], None] | None = None
) -> str:
    """The name (``path:...``) of the bench's model after full tuning on the bench's task, without a budget.

    Trained once and kept; the folder's name follows from everything that decides the numbers. Only nets of our own
    kinds, which ship as a configuration, can be kept this way.
    """
    from workbench.core.seeds import derive

    case = bench.case("full")
    if case.spec.config.get("model_type") not in OWN:
        raise Incompatible("model", bench.model, "only inverted-residual nets and denoisers are trained in the factory")
    if not epochs > 0:
        raise BadInput("epochs", epochs, "a number above 0")
    identity = [case.identity(), bench.sizes.train, epochs, seed]
    number = derive(0, json.dumps(identity, sort_keys=True, default=str))
    folder = _root() / f"{bench.model.replace(':', '-').replace('/', '-')}-{bench.task}-{number:016x}"
    if not (folder / "model.safetensors").exists():
        if progress is not None:
            progress(f"training {bench.model} on {bench.task} in float")
        _train(bench, epochs, seed, folder)
    return f"path:{_short(folder)}"


def _root() -> Path:
    from workbench.core import paths

    return paths.cache() / "factory"


def _short(folder: Path) -> str:
    """With a tilde where it lies at home, so that reports name no user."""
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)


def _train(bench: Bench, epochs: float, seed: int, folder: Path) -> None:
    from safetensors.torch import save_file

    from workbench.session import Session

    case = bench.case("full")
    session = Session(case, seed, None, replace(bench.schedule, epochs=epochs, steps=None), bench.sizes)
    session.prepare()
    for _ in session.steps():
        pass
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{case.spec.title}, trained in float on {case.task.title}"
    config: dict[str, Any] = {**case.spec.config, "shape": list(case.spec.shape), "title": title}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    state = {k: v.contiguous() for k, v in session.model.state_dict().items() if not k.startswith("classifier.")}
    partial = folder / "model.safetensors.partial"
    save_file(state, partial)
    partial.replace(folder / "model.safetensors")
