"""Which tensors of an integer net to train within a byte budget: contribution analysis and an evolutionary search.

After "On-Device Training Under 256KB Memory" (Lin et al., 2022): the gain of training the last k biases over the head
alone, and of one more layer's weight over those biases, are measured in runs; a scheme is worth the sum, which is an
assumption. Bytes are not assumed: each scheme is judged by the SRAM its planned step needs. Gains are scores on
training examples set aside: what the search finds is then asked about a test set that it never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.lens.microcontroller import plan_step, require_head

if TYPE_CHECKING:
    from workbench.bench import Bench

METHOD = "int8-training"
Weight = tuple[int, Fraction]
_NONE = "none"


@dataclass(frozen=True)
class Contributions:
    """Gains in score, means over seeds: ``biases[k]`` of the last k biases over the head alone; ``weights[i, share]``
    of one weight over the last ``reference`` biases. ``base`` is the head's own score, ``runs`` how many were made,
    ``examples`` how many training examples they were scored on, ``lr`` the one rate of all of them. ``scores`` are
    those of each seed, by what trained: (biases, update), where (0, "") is the head alone."""

    base: float
    biases: Mapping[int, float]
    weights: Mapping[Weight, float]
    reference: int
    runs: int
    examples: int = 0
    lr: float | None = None
    scores: Mapping[tuple[int, str], tuple[float, ...]] = field(default_factory=dict)

    def pairs(self) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
        """Of each gain, biases first, the scores by seed with what is worth it and those without it."""
        kept = self.reference, ""
        pairs = [((k, ""), (0, "")) for k in self.biases] + [
            ((self.reference, f"{i}:{share}"), kept) for i, share in self.weights
        ]
        return [(self.scores[one], self.scores[other]) for one, other in pairs]


@dataclass(frozen=True)
class ByteScheme:
    """The scheme found. ``gain`` is what its parts promise together, ``sram`` what its step needs, bytes."""

    biases: int
    weights: Mapping[int, Fraction]
    gain: float
    sram: int
    tried: int

    @property
    def settings(self) -> dict[str, Any]:
        """The method's settings."""
        return {"biases": self.biases, "update": ",".join(f"{i}:{share}" for i, share in sorted(self.weights.items()))}


def contributions(
    bench: Bench,
    *,
    biases: Sequence[int] = (2, 5, 10),
    layers: Sequence[int] = (-1, -2, -4, -5, -7, -8),
    shares: Sequence[str] = ("1/4", "1"),
    seeds: Sequence[int] = (0,),
    validation: int = 200,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> Contributions:
    """Measured gains. ``biases`` are the k that are tried, ``layers`` numbers of convolutions; each run is stored.

    ``validation`` training examples are set aside to score on; the test set is not read. All runs share the rate of
    ``settings``: where it suits the head alone worse than what is compared with it, gains hold the rate's share too.
    """
    if not biases or min(biases) < 1:
        raise BadInput("biases", list(biases), "numbers of biases, each at least 1")
    tell, chosen_by = progress or (lambda _: None), bench.validating(validation)
    scores: dict[tuple[int, str], tuple[float, ...]] = {}

    def score(**scheme: Any) -> float:
        tell(f"biases {scheme['biases']}, weights {scheme['update'] or 'none'}")
        records = [chosen_by.run(METHOD, seed, **{**settings, **scheme}) for seed in seeds]
        # A run that diverged is worth nothing, and has a score of nought.
        found = tuple(float(r.score.get("value", 0.0)) for r in records)
        scores[scheme["biases"], scheme["update"]] = found
        return mean(found)

    base = score(biases=0, update="")
    by_biases = {k: score(biases=k, update="") - base for k in biases}
    reference = max(by_biases, key=by_biases.__getitem__)
    over = base + by_biases[reference]
    by_weight = {
        (i, Fraction(share)): score(biases=reference, update=f"{i}:{share}") - over for i in layers for share in shares
    }
    runs = len(scores) * len(seeds)
    return Contributions(base, by_biases, by_weight, reference, runs, validation, settings.get("lr"), scores)


def search_bytes(
    bench: Bench, found: Contributions, budget: int, *, trials: int = 200, seed: int = 0, judge: Judge | None = None
) -> ByteScheme:
    """The scheme of largest summed gain whose planned step on one example keeps ``budget`` bytes of SRAM.

    ``judge`` shares its plans between budgets, none of which may lie below the head's own need. Raises
    ``Incompatible`` naming the shortfall when not even that is met.
    """
    import optuna

    if trials < 1:
        raise BadInput("trials", trials, "a whole number of at least 1")
    judge = judge or Judge(bench, found, require_head(bench.case(METHOD), budget).sram)

    def objective(trial: optuna.Trial) -> float:
        made = judge.scheme({name: trial.suggest_categorical(name, some) for name, some in judge.choices().items()})
        trial.set_constraint("bytes over the budget", float(made.sram - budget))
        return made.gain

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(population_size=min(30, trials), seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: some[0] for name, some in judge.choices().items()})  # nothing but the head: it fits
    study.optimize(objective, n_trials=trials)
    fitting = [made for trial in study.trials if (made := judge.scheme(trial.params)).sram <= budget]
    best = max(fitting, key=lambda made: (made.gain, -made.sram))
    return replace(best, tried=len(study.trials))


@dataclass
class Judge:
    """What a scheme promises, and what its step needs; each scheme is planned once."""

    bench: Bench
    found: Contributions
    head: int
    _sizes: dict[str, int] = field(default_factory=dict)

    def choices(self) -> dict[str, list[Any]]:
        """What can be chosen by name, the cheapest first: how many biases, and a share of each layer's channels."""
        named: dict[str, list[Any]] = {"biases": [0, *self.found.biases]}
        for layer, share in self.found.weights:
            named.setdefault(str(layer), [_NONE]).append(str(share))
        return named

    def scheme(self, chosen: Mapping[str, Any]) -> ByteScheme:
        picked = {int(name): Fraction(share) for name, share in chosen.items() if name != "biases" and share != _NONE}
        gain = sum(self.found.weights[i, share] for i, share in picked.items())
        made = ByteScheme(chosen["biases"], picked, gain + self.found.biases.get(chosen["biases"], 0.0), self.head, 0)
        key = f"{made.settings}"
        if key not in self._sizes:
            empty = not picked and not made.biases
            self._sizes[key] = self.head if empty else plan_step(self.bench.case(METHOD, **made.settings)).sram
        return replace(made, sram=self._sizes[key])
