"""How much a token matters at each time between picture and noise, which is where learning it should look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.figures.info import FigureInfo, caption_of

if TYPE_CHECKING:
    from workbench.studies.personalise import TimeCurves


@dataclass(frozen=True)
class TokenTimesInfo(FigureInfo):
    """Loss at ``times`` with the learned token and with others, and the window that training draws from."""

    kind: ClassVar[str] = "token_times"

    times: tuple[float, ...]
    right: tuple[float, ...]
    wrong: tuple[float, ...]
    window: tuple[float, float]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"time": time, "loss, learned token": right, "loss, other tokens": wrong}
            for time, right, wrong in zip(self.times, self.right, self.wrong)
        ]


def token_times(found: TimeCurves) -> TokenTimesInfo:
    """The picture of :func:`workbench.studies.personalise.token_by_time`."""
    gaps = [wrong - right for right, wrong in zip(found.right, found.wrong)]
    widest = found.times[max(range(len(gaps)), key=gaps.__getitem__)]
    low, high = found.window
    return TokenTimesInfo(
        title="When the token matters",
        caption=caption_of(
            "Squared error of the velocity on held-out pictures by time (0: picture, 1: noise), measured, with the "
            "token that backpropagation learned and with other tokens on average. Shaded: the times that ZOODiP draws.",
            [found.record],
        ),
        alt=f"The gap between the learned token and others is widest at time {widest:.2f}, {max(gaps):.3f}; "
        f"ZOODiP draws times from {low:g} to {high:g}.",
        runs=(found.record,),
        times=found.times,
        right=found.right,
        wrong=found.wrong,
        window=found.window,
    )
