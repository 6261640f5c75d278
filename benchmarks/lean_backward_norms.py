"""GreenTrainer and full tuning with every norm's statistics moving and held still, for ``lean_backward.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lean_backward_settings import arms, results, told

from workbench.bench import Bench
from workbench.core.spelling import parsed_way
from workbench.nn.deterministic import stay_evaluating
from workbench.session import Session

MOVING = (0.001,)  #: smaller rates with moving statistics
HELD_STILL = (0.0003, 0.001)  #: smaller rates with statistics held still


def part_norms(bench: Bench) -> list[dict[str, Any]]:
    """Score of ways that move every norm: as they were trained, GreenTrainer also with a smaller rate, and with all
    statistics held still, at the same rate and GreenTrainer at smaller ones. ``rate`` stands where it is not the way's
    own. What is known of this part is not trained again."""
    model = results()["models"][bench.model]
    known = {_key(row): row for row in model.get("norms", ())}
    rows = []
    for way in (w for w in arms(bench).trained if w.startswith(("full", "green-trainer"))):
        method, settings = parsed_way(way)
        given = told(bench.case(method, **settings).config.model_dump())
        same = {r["seed"]: r["score"] for r in model["trained"] if (r["method"], r["settings"]) == (method, given)}
        rows += [{"way": way, "seed": seed, "statistics": "moving", "score": score} for seed, score in same.items()]
        chosen = way.startswith("green-trainer") and "select" not in way
        asked = [("moving", rate) for rate in (MOVING if chosen else ())]
        asked += [("held still", rate) for rate in (*(HELD_STILL if chosen else ()), settings["lr"])]
        for statistics, rate in asked:
            for seed in same:
                row = {"way": way, "seed": seed, "statistics": statistics, "rate": rate}
                score = known[_key(row)]["score"] if _key(row) in known else _score(bench, method, settings, row)
                rows.append(row | {"score": score})
                print(rows[-1], flush=True)
    return rows


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["way"], row["seed"], row["statistics"], row.get("rate")


def _score(bench: Bench, method: str, settings: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    case = bench.case(method, **{**settings, "lr": row["rate"]})
    session = Session(case, row["seed"], None, bench.schedule, bench.sizes)
    session.prepare()
    for module in session.model.modules() if row["statistics"] == "held still" else ():
        if isinstance(module, torch.nn.BatchNorm2d):
            stay_evaluating(module)
    for _ in session.steps():
        pass
    return session.score().value
