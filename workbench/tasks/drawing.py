"""Drawing what a token says: a denoiser learns the kinds of a picture set, or a kind it never saw from a few pictures.

Every known kind is divided into styles (k-means of its pictures), and each style has a token. One kind is kept back:
its token, the last of the table, has never been trained. A third of all pictures is seen by nobody but a judge, a
support-vector classifier, who says of what kind a drawn picture is.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Batch, Metrics, Sizes, Task, TaskData
from workbench.tasks.classification import evaluating
from workbench.tasks.content import fingerprint, split
from workbench.tasks.text import check_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from workbench.models.base import ModelSpec

STYLES = 6  #: tokens of each known kind
DRAWN = 120  #: pictures that a score draws
JUDGED = 3  #: one picture in so many belongs to the judge


@dataclass(frozen=True)
class Album:
    """Pictures (count, side, side) in [-1, 1] with the number of their kind, and whose they are.

    ``token`` is the place in the table; ``judge`` marks what only the judge sees.
    """

    pictures: NDArray[Any]
    kinds: NDArray[Any]
    token: NDArray[Any]
    judge: NDArray[Any]


def album(pictures: NDArray[Any], kinds: NDArray[Any], new: int) -> Album:
    """Divide a picture set; the same for every seed, since a trained denoiser knows its tokens by their place."""
    import numpy as np
    from sklearn.cluster import KMeans

    judge = np.random.default_rng(derive(0, "judge")).permutation(len(pictures)) % JUDGED == 0
    known = [k for k in range(int(kinds.max()) + 1) if k != new]
    token = np.full(len(pictures), len(known) * STYLES)
    for place, kind in enumerate(known):
        mine = np.flatnonzero((kinds == kind) & ~judge)
        groups = KMeans(STYLES, n_init=1, random_state=0).fit_predict(pictures[mine].reshape(len(mine), -1))
        token[mine] = place * STYLES + groups
    return Album(pictures, kinds, token, judge)


class Drawing(Task):
    """Base of both tasks of a picture set: ``teaches_new`` tells them apart."""

    kinds = ("image-denoiser",)
    metric = "recognised"
    augments = True
    names: ClassVar[tuple[str, ...]]
    new: ClassVar[int]  #: the kind that is kept back
    side: ClassVar[int]
    teaches_new: ClassVar[bool] = False
    defaults: ClassVar[tuple[int, int]] = (1000, 100)

    @classmethod
    @abc.abstractmethod
    def album(cls) -> Album:
        """All pictures of the set."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each token, the new kind's last."""
        known = [name for kind, name in enumerate(self.names) if kind != self.new]
        styles = [f"{name}, style {style + 1}" for name in known for style in range(STYLES)]
        return (*styles, self.names[self.new])

    def check(self, model: ModelSpec) -> None:
        from workbench.core.errors import Incompatible

        super().check(model)
        if model.shape != (1, self.side, self.side):
            shape = " x ".join(map(str, model.shape))
            raise Incompatible(
                "model", model.name, f"{self.name} has grey pictures of {self.side} pixels a side; it takes {shape}"
            )

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        self.check(model)
        self._side(sizes.length)
        found = self.album()
        mine = np.flatnonzero(~found.judge & ((found.kinds == self.new) == self.teaches_new))
        train, test = split(self.name, len(mine), sizes.train, sizes.test, self.defaults, seed)
        parts = [
            [
                {"image": found.pictures[i], "token": int(found.token[i]), "kind": int(found.kinds[i])}
                for i in mine[part]
            ]
            for part in (train, test)
        ]
        what = f"{len(mine)} pictures of {'the kept back kind' if self.teaches_new else 'the known kinds'}"
        described = f"seeded shuffle of {what}, {len(train)} train / {len(test)} test"
        notes = (f"one picture in {JUDGED} is seen by the judge alone, whatever the seed",)
        labels = self.labels
        return TaskData(
            parts[0], parts[1], len(labels), labels, fingerprint(*parts), "every pixel", described, seed, notes
        )

    def _side(self, length: int | None) -> None:
        if length not in (None, self.side):
            raise BadInput(f"{self.name}.length", length, f"{self.side} pixels, the side of these pictures")

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        """Pictures with their tokens, and noise and times that are the same at every call; training draws its own."""
        import numpy as np
        import torch

        pictures = torch.from_numpy(np.stack([example["image"] for example in examples]))[:, None]
        tokens = torch.tensor([example["token"] for example in examples], dtype=torch.int64)
        return noised(pictures, tokens, 0)

    def batches(self, data: TaskData, spec: ModelSpec, size: int, seed: int, first: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(super().batches(data, spec, size, seed, first), first):
            yield noised(batch["pixel_values"], batch["tokens"], derive(seed, "noise", number))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Squared error of the velocity. Times lie in the model's window, levels say where."""
        seen = model(**batch)
        # Not mse_loss: the number it returns lies in a storage for all differences, which shapes do not tell.
        return (seen.logits - seen.target).float().square().mean()

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        import torch

        self.check(model)
        check_batch(batch)
        self._side(length)
        count = batch * self.side**2
        ramp = torch.arange(count, dtype=torch.float32).remainder(251).div(125.5).sub(1)
        pictures = ramp.reshape(batch, 1, self.side, self.side)
        return {
            "pixel_values": pictures,
            "noise": pictures.flip(-1) * 1.7,
            "levels": torch.arange(batch, dtype=torch.float32).add(0.5) / batch,
            "tokens": torch.full((batch,), len(self.labels) - 1, dtype=torch.int64),
        }

    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 128) -> Metrics:
        """The share of pictures drawn with the tokens of the held-out pictures that the judge takes for what was asked.

        Details: ``distance``, the energy distance of drawn from held-out pictures in pixels (0: the same
        distribution); ``loss``, the velocity's squared error on held-out pictures at five fixed times; ``judge``, the
        share of held-out real pictures that the judge names rightly.
        """
        import numpy as np
        import torch

        with evaluating(model):
            tokens, kinds = self.asked(data)
            made = self.draw(model, tokens, at_once=batch)
            loss = loss_by_time(model, self.collate(data.test, spec), (0.1, 0.3, 0.5, 0.7, 0.9))
        judge = _judge(type(self))
        right = judge.predict(made.flatten(1).numpy()) == kinds
        real = torch.from_numpy(np.stack([e["image"] for e in data.test])).flatten(1)
        named = judge.predict(real.numpy()) == np.array([e["kind"] for e in data.test])
        details = {
            "distance": energy_distance(made.flatten(1), real),
            "loss": sum(loss) / len(loss),
            "judge": float(named.mean()),
        }
        return Metrics(self.metric, float(right.mean()), len(made), details)

    @staticmethod
    def asked(data: TaskData, count: int = DRAWN) -> tuple[Tensor, NDArray[Any]]:
        """Tokens to draw, those of the held-out pictures in turn, and their kinds."""
        import numpy as np
        import torch

        chosen = [data.test[i % len(data.test)] for i in range(count)]
        return torch.tensor([e["token"] for e in chosen]), np.array([e["kind"] for e in chosen])

    def draw(self, model: nn.Module, tokens: Tensor, seed: int = 0, at_once: int = 128) -> Tensor:
        """Pictures (count, 1, side, side) of these tokens; the same noise for the same seed, whatever the model."""
        import torch

        from workbench.models.denoiser import drawn

        numbers = torch.Generator().manual_seed(derive(seed, "drawing"))
        noise = torch.randn(len(tokens), 1, self.side, self.side, generator=numbers)
        parts = zip(tokens.split(at_once), noise.split(at_once))
        return torch.cat([drawn(model, *part) for part in parts])  # type: ignore[arg-type]


def noised(pictures: Tensor, tokens: Tensor, seed: int) -> Batch:
    """A batch whose noise (as the pictures) and levels (batch,), uniform in [0, 1), follow from the seed."""
    import torch

    numbers = torch.Generator().manual_seed(seed)
    noise = torch.randn(pictures.shape, generator=numbers)
    levels = torch.rand(len(pictures), generator=numbers)
    return {"pixel_values": pictures, "noise": noise, "levels": levels, "tokens": tokens}


def loss_by_time(model: nn.Module, batch: Batch, times: Sequence[float]) -> list[float]:
    """The velocity's mean squared error at each of ``times``, anywhere on the axis, with the noise of the batch."""
    import torch

    from workbench.models.denoiser import on_the_way

    found, dtype = [], model.places.dtype
    for time in times:
        at = torch.full((len(batch["tokens"]),), time)
        x, target = on_the_way(batch["pixel_values"], batch["noise"], at)
        said = model.velocity(x.to(dtype), at.to(dtype), batch["tokens"])  # type: ignore[operator]
        found.append(float((said.float() - target).square().mean()))
    return found


def energy_distance(one: Tensor, other: Tensor) -> float:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` of two sets of vectors (count, width); 0 for one distribution."""
    import torch

    def apart(a: Tensor, b: Tensor) -> float:
        pairs = len(a) * (len(a) - 1) if a is b else len(a) * len(b)
        return float(torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").sum()) / max(1, pairs)

    return 2 * apart(one, other) - apart(one, one) - apart(other, other)


@functools.cache
def _judge(task: type[Drawing]) -> Any:
    from sklearn.svm import SVC

    found = task.album()
    return SVC().fit(found.pictures[found.judge].reshape(int(found.judge.sum()), -1), found.kinds[found.judge])
