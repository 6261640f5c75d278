"""Writes docs/personalise.md and its pictures from what ``zoodip.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import figures
from workbench.figures.info import FigureInfo
from workbench.figures.mpl import to_svg
from workbench.papers import paper
from workbench.records.schema import RunRecord
from workbench.studies.personalise import LearnedToken, TimeCurves

PAGE = Path(__file__).resolve().parents[1] / "docs" / "personalise.md"

HEAD = """# A token without backpropagation

Made by `python benchmarks/zoodip.py` on {when}, {cores} cores. ZOODiP (*{title}*) teaches a quantized denoiser \
something new by one token and forward passes alone. Here a diffusion transformer of 184 452 numbers, trained on this \
machine to draw nine of scikit-learn's ten digits in six styles each, is to draw the nine, which it never saw, from 16 \
pictures (8 a step, {steps} steps, seeds {seeds}). A token has 64 numbers. The paper's own claim, read in its \
{provenance}: {headline}, on Stable Diffusion. Others used the machine meanwhile: step times compare nothing.

"""


def _svg(info: FigureInfo, name: str) -> str:
    drawn = to_svg(info).replace("currentColor", "#7D8590")
    (PAGE.parent / name).write_text(drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
    return f"![{info.title}]({name})\n\n{info.alt} {info.caption}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _arms(stored: Mapping[str, Any]) -> list[LearnedToken]:
    return [
        LearnedToken(
            label, tuple(RunRecord.from_dict(r) for r in arm["records"]), np.array(arm["drawings"], dtype="uint8")
        )
        for label, arm in stored.get("arms", {}).items()
    ]


def write(stored: Mapping[str, Any]) -> None:
    """The page; sections without results are left out."""
    arms, row = _arms(stored), paper(21)
    if not arms:
        return
    seeds = ", ".join(str(r.seed) for r in arms[0].records)
    parts = [
        HEAD.format(
            when=stored["when"],
            cores=stored["host"].get("cores"),
            title=row.title,
            steps=stored["steps"],
            seeds=seeds,
            provenance=row.provenance,
            headline=row.headline,
        )
    ]
    table, told = figures.personalise_table(arms), figures.personalise_directions(arms)
    rows = [[table.shown(r, c) for c in table.columns] for r in table.rows]
    parts += [
        "\n\n".join(figures.personalise_answer(arms).split("\n")) + "\n",
        _table([c.title for c in table.columns], rows),
        table.caption + "\n",
        "## The paper's claims\n",
        _table([c.title for c in told.columns], [[told.shown(r, c) for c in told.columns] for r in told.rows]),
        told.caption + "\n",
        "## Side by side\n",
        _svg(
            figures.personalise_drawings(
                arms, np.array(stored["real"], dtype="uint8"), np.array(stored["before"], dtype="uint8")
            ),
            "personalise-1.svg",
        ),
    ]
    if "times" in stored:
        curves = TimeCurves(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored["times"].items()})
        parts += ["## When the token matters\n", _svg(figures.token_times(curves), "personalise-2.svg")]
    if "gradients" in stored:
        rows = [[row["what"], row["cosine"]] for row in stored["gradients"]]
        parts += ["## What the subspace keeps of the gradient\n", _table(["Estimate", "Cosine to the true one"], rows)]
    if stored.get("tuning"):
        said = [
            f"- {label}: " + ", ".join(f"{rate} gave {loss:.4f}" for rate, loss in tried.items())
            for label, tried in stored["tuning"].items()
        ]
        parts += ["## Rates\n", "Loss at the end of one run with a seed that no result uses:\n", "\n".join(said) + "\n"]
    PAGE.write_text("\n".join(parts))
