"""What the subspace does to an estimate: its angle to the true gradient before and after directions are taken out."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.core.schedule import Schedule
from workbench.core.seeds import derive
from workbench.studies.personalise import RATE

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.bench import Bench
    from workbench.parts.base import TrainingStep
    from workbench.session import Session

DRAWS = 32


def gradient_quality(bench: Bench, seed: int = 0, *, draws: int = DRAWS, **settings: Any) -> list[dict[str, Any]]:
    """Rows for a table. ZOODiP learns until its directions have been found twice; then ``draws`` batches are asked.

    The true gradient is backpropagation's at the same token, on the same batch, noise and times.
    """
    import torch

    from workbench.session import Session

    interval = min(128, max(2, (bench.schedule.steps or 256) // 2))
    case = bench.case("zoodip", subspace=interval, **{"lr": RATE, **settings})
    session = Session(case, seed, schedule=Schedule(steps=2 * interval), sizes=bench.sizes)
    session.prepare()
    for _ in session.steps():
        pass
    step = session.training
    (token,) = step.parameters
    quiet = step.optimizers[0].state[token]["quiet"]
    pairs = _pairs(session, step, draws)
    kept = lambda g: g - (quiet @ g) @ quiet  # noqa: E731
    cosine: Callable[..., float] = lambda a, b: float(torch.cosine_similarity(a, b, 0))  # noqa: E731
    removed = round(float(quiet.square().sum()))
    return [
        {"what": f"{case.config.probes} probes", "cosine": _told(mean(cosine(e, g) for e, g in pairs))},
        {
            "what": f"the same, {removed} of {token.numel()} directions removed",
            "cosine": _told(mean(cosine(kept(e), g) for e, g in pairs)),
        },
        {
            "what": "the true gradient itself, the same directions removed",
            "cosine": _told(mean(cosine(kept(g), g) for _, g in pairs)),
        },
        {
            "what": f"true gradients, as many directions left by chance ({token.numel() - removed})",
            "cosine": _told(((token.numel() - removed) / token.numel()) ** 0.5),
        },
    ]


def _told(value: float) -> str:
    return f"{value:.3f}"


def _pairs(session: Session, step: TrainingStep, draws: int) -> list[tuple[Tensor, Tensor]]:
    """Estimate and true gradient of as many fresh batches, at the token as it stands; it is put back after each."""
    import torch

    from workbench.memory.snapshot import Snapshot

    case, found = session.case, []
    (token,) = step.parameters
    stream = case.task.batches(session.data, case.spec, case.batch, derive(session.seed, "asked"))
    for draw in range(draws):
        batch, seen = next(stream), []
        with Snapshot(step):
            step.observer = lambda p, seen=seen: seen.append(p.grad.detach().clone().flatten())  # type: ignore[misc]
            step(batch, seed=derive(session.seed, "asked", draw))
        loss = case.task.loss(step.model, batch)
        found.append((seen[0], torch.autograd.grad(loss, token)[0].flatten()))
    step.observer = None
    return found
