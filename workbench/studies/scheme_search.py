"""Search an update scheme: which tensors to train so that most of the loss can be won within a byte budget.

The sensitivity of a tensor is the first-order fall of the loss when every element moves by one unit against the sign
of its gradient, as an Adam-like update does: the sum of absolute gradients on real batches. Sensitivities are taken
as additive, an assumption the papers make too (On-Device Training Under 256KB Memory, 2022; PockEngine, 2023).
Bytes are not: two tensors that need the same activation share it, so a scheme is judged by what its gradients
together need, and the winner is predicted in full before it is given. Those bytes are a pruned graph's, so the step is
meant to run as one (``executor=graph``): eagerly a frozen convolution or norm would keep its input all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput, Incompatible
from workbench.core.names import plain
from workbench.core.profile import Category, MemoryProfile
from workbench.core.units import format_size

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from torch import nn

    from workbench.bench import Bench
    from workbench.case import Case
    from workbench.engine.needs import Needs

METHOD = "sparse-update"
_ROUNDS = 6  #: exact predictions at most until the scheme fits


@dataclass(frozen=True)
class Candidate:
    """Tensors of one block that are chosen together. ``alone``: bytes the backward pass keeps for them alone."""

    label: str
    tensors: tuple[str, ...]
    sensitivity: float
    alone: int
    chosen: bool = False


@dataclass(frozen=True)
class FoundScheme:
    """The best scheme that fits. ``share`` is its part of the sensitivity of all candidates, ``tried`` how many
    schemes were judged; ``predicted`` is its full prediction."""

    candidates: tuple[Candidate, ...]
    share: float
    tried: int
    predicted: MemoryProfile

    @property
    def tensors(self) -> str:
        """The value of the method's setting ``tensors``."""
        return ",".join(t for c in self.candidates if c.chosen for t in c.tensors)

    @property
    def way(self) -> str:
        """The scheme as a method with settings."""
        return f"{METHOD} executor=graph tensors={self.tensors}"


def search_scheme(
    bench: Bench,
    *,
    trials: int = 600,
    batches: int = 4,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> FoundScheme:
    """The scheme of :mod:`workbench.methods.sparse_update` with the highest sensitivity under the bench's budget.

    ``batches`` real batches give the sensitivities after a short tuning of the fresh head. Raises ``Incompatible``
    naming the shortfall when not even the smallest scheme fits.
    """
    if trials < 1 or batches < 1:
        raise BadInput("trials" if trials < 1 else "batches", min(trials, batches), "a whole number of at least 1")
    tell = progress or (lambda _: None)
    tell("capturing the graph of full tuning")
    needed = captured_needs(bench.case("full"))
    tell("taking sensitivities")
    candidates = candidates_of(bench, needed, sensitivities(bench, batches=batches, seed=seed))
    least = min(range(len(candidates)), key=lambda i: candidates[i].alone)
    bytes_of = KeptBytes(needed, candidates, always_trained(bench, needed, candidates[least]))
    smallest = bench.case(METHOD, executor="graph", tensors=",".join(candidates[least].tensors)).predict()
    room = room_for(bench, bytes_of, least, smallest)
    tell("searching")
    total = sum(c.sensitivity for c in candidates) or 1.0
    tried = 0
    for _ in range(_ROUNDS):
        chosen, judged = evolved(candidates, bytes_of, room, trials, seed)
        tried += judged
        if not chosen.any():
            chosen[least] = True
        marked = tuple(replace(c, chosen=bool(pick)) for c, pick in zip(candidates, chosen))
        found = FoundScheme(marked, sum(c.sensitivity for c in marked if c.chosen) / total, tried, smallest)
        found = replace(found, predicted=bench.case(METHOD, executor="graph", tensors=found.tensors).predict())
        if found.predicted.peak <= bench.budget:
            return found
        room = Room(room.bytes - (found.predicted.peak - bench.budget), room.per_trained)
    raise Incompatible("budget", format_size(bench.budget), "no scheme was found whose prediction keeps it")


def sensitivities(bench: Bench, *, batches: int = 4, warm: int = 20, seed: int = 0) -> dict[str, float]:
    """Sum of absolute gradients of each parameter, the mean over ``batches`` batches, after ``warm`` steps of the head.

    A fresh head would otherwise send random gradients into everything below it.
    """
    import torch

    from workbench.session import Session

    session = Session(bench.case("full"), seed, None, bench.schedule, bench.sizes)
    session.load()
    session.prepare()
    model, loss_of = session.model, bench.case("full").task.loss
    stream = bench.case("full").task.batches(session.data, session.case.spec, session.case.batch, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _warm_head(model, loss_of, stream, warm)
        total = {name: 0.0 for name, _ in model.named_parameters()}
        for _ in range(batches):
            loss_of(model, next(stream)).backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    total[name] += float(parameter.grad.abs().sum()) / batches
            model.zero_grad(set_to_none=True)
    return total


def _warm_head(model: nn.Module, loss_of: Any, stream: Any, steps: int) -> None:
    import torch

    from workbench.models.structure import head

    output = head(model)
    tied = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    fresh = [p for p in output[1].parameters() if id(p) not in tied] if output else []
    if not fresh:
        return
    optimizer = torch.optim.AdamW(fresh, lr=1e-3, fused=True)
    for _ in range(steps):
        gradients = torch.autograd.grad(loss_of(model, next(stream)), fresh)
        for parameter, gradient in zip(fresh, gradients):
            parameter.grad = gradient
        optimizer.step()
    model.zero_grad(set_to_none=True)


def captured_needs(case: Case) -> Needs:
    from workbench.engine.capture import NotCaptured, capture
    from workbench.engine.needs import needs
    from workbench.engine.prune import prune

    try:
        return needs(prune(capture(case.attached(device="meta", weights=False), case.task.loss, case.example()[0])))
    except NotCaptured as error:
        raise Incompatible("model", case.model_name, str(error)) from error


def candidates_of(bench: Bench, needed: Needs, sensitivity: Mapping[str, float]) -> list[Candidate]:
    """One candidate for each role in each block, and one for the block's biases; norms' scales go with the biases."""
    from workbench.models.structure import blocks, role

    model = bench.case("full").attached(device="meta", weights=False)
    groups: dict[str, list[str]] = {}
    for block, module in blocks(model):
        for name, parameter in module.named_parameters():
            if f"{block}.{name}" not in needed.names:
                continue
            owner, _, leaf = name.rpartition(".")
            kind = role(owner, module.get_submodule(owner)) if leaf == "weight" and parameter.dim() > 1 else "biases"
            groups.setdefault(f"{plain(block)} {kind or 'other'}", []).append(f"{block}.{name}")
    return [
        Candidate(label, tuple(names), sum(sensitivity[n] for n in names), needed.saved(names))
        for label, names in groups.items()
    ]


class KeptBytes:
    """What a choice of candidates keeps, as one union of storages, and the parameters it trains."""

    def __init__(self, needed: Needs, candidates: Sequence[Candidate], always: Sequence[str]) -> None:
        import numpy as np

        places = {name: i for i, name in enumerate(needed.names)}
        rows = [[places[t] for t in c.tensors] for c in candidates]
        self._always = needed.kept[[places[name] for name in always]].any(axis=0)
        self.always_numbers = int(needed.gradients[[places[name] for name in always]].sum())
        self._kept = np.stack([needed.kept[r].any(axis=0) for r in rows])
        self._sizes = needed.sizes
        self.trained = np.array([needed.gradients[r].sum() for r in rows])

    def saved(self, chosen: np.ndarray) -> int:
        return int(self._sizes[self._kept[chosen].any(axis=0) | self._always].sum())

    def free(self, chosen: np.ndarray) -> np.ndarray:
        """Candidates that would keep nothing more beside ``chosen``."""
        have = self._kept[chosen].any(axis=0) | self._always
        found: np.ndarray = ~(self._kept & ~have).any(axis=1)
        return found


def always_trained(bench: Bench, needed: Needs, smallest: Candidate) -> list[str]:
    """Parameters that train whatever the scheme is: the fresh head, where there is one."""
    model = bench.case(METHOD, tensors=",".join(smallest.tensors)).attached(device="meta", weights=False)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    return [name for name in trained if name in needed.names and name not in smallest.tensors]


@dataclass
class Room:
    """Bytes that the kept tensors of a scheme and the state of its candidates may take together."""

    bytes: int
    per_trained: float

    def cost(self, of: KeptBytes, chosen: np.ndarray) -> float:
        return of.saved(chosen) + self.per_trained * float(of.trained[chosen].sum())


def room_for(bench: Bench, of: KeptBytes, smallest: int, profile: MemoryProfile) -> Room:
    """Room for schemes, by the full prediction of the smallest one."""
    import numpy as np

    if profile.peak > bench.budget:
        more = format_size(profile.peak - bench.budget)
        reason = f"even the smallest scheme needs {format_size(profile.peak)}, {more} more"
        raise Incompatible("budget", format_size(bench.budget), reason)
    one = np.arange(len(of.trained)) == smallest
    trained = of.always_numbers + int(of.trained[one].sum())
    room = Room(0, profile.by_category[Category.OPTIMIZER] / max(1, trained))
    return Room(bench.budget - profile.peak + int(room.cost(of, one)), room.per_trained)


def evolved(
    candidates: Sequence[Candidate], of: KeptBytes, room: Room, trials: int, seed: int
) -> tuple[np.ndarray, int]:
    """The best choice found by Optuna's NSGA-II under one constraint, started from greedy choices."""
    import numpy as np
    import optuna

    worth = np.array([c.sensitivity for c in candidates])
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def closed(chosen: np.ndarray) -> np.ndarray:
        """With everything that keeps nothing more and whose state has room, dearest first."""
        chosen = chosen.copy()
        for index in np.argsort(-worth):
            if not chosen[index] and of.free(chosen)[index]:
                chosen[index] = True
                if room.cost(of, chosen) > room.bytes:
                    chosen[index] = False
        return chosen

    def objective(trial: optuna.Trial) -> float:
        chosen = np.array([trial.suggest_categorical(c.label, [False, True]) for c in candidates], dtype=bool)
        over = room.cost(of, chosen) - room.bytes
        chosen = closed(chosen) if over <= 0 else chosen
        trial.set_constraint("bytes over the room", float(over))
        trial.set_user_attr("over", float(over))
        trial.set_user_attr("chosen", chosen.tolist())
        return float(worth[chosen].sum())

    sampler = optuna.samplers.NSGAIISampler(population_size=40, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for start in _greedy(worth, of, room):
        study.enqueue_trial({c.label: bool(pick) for c, pick in zip(candidates, start)})
    study.optimize(objective, n_trials=trials)
    fitting = [t for t in study.trials if t.user_attrs.get("over", 1.0) <= 0]
    if not fitting:
        return np.zeros(len(candidates), dtype=bool), len(study.trials)
    best = max(fitting, key=lambda t: t.value or 0.0)
    return np.array(best.user_attrs["chosen"], dtype=bool), len(study.trials)


def _greedy(worth: np.ndarray, of: KeptBytes, room: Room) -> list[np.ndarray]:
    """Nothing, and the choice that always takes what wins most per further byte."""
    import numpy as np

    nothing = np.zeros(len(worth), dtype=bool)
    chosen = nothing.copy()
    while True:
        now = room.cost(of, chosen)
        best, rate = -1, 0.0
        for index in np.flatnonzero(~chosen):
            chosen[index] = True
            cost = room.cost(of, chosen)
            chosen[index] = False
            if cost <= room.bytes and worth[index] / (cost - now + 1.0) > rate:
                best, rate = int(index), worth[index] / (cost - now + 1.0)
        if best < 0:
            return [nothing, chosen]
        chosen[best] = True
