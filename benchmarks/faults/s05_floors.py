"""S5: the libraries that read foreign data are at least as new as the mends of what was wrong with them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from faults.frame import Experiment, Figures, Setting

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def _counted(declared: dict[str, str], installed: list[str]) -> Figures:
    """How many floors there are, are declared too low, and are missed by what is installed."""
    from packaging.version import Version

    from workbench.cli.floors import FLOORS

    low = [n for n, floor, _ in FLOORS if n.lower() in declared and Version(declared[n.lower()]) < Version(floor)]
    return {"floors": len(FLOORS), "declared too low": len(low), "installed too old": len(installed)}


def _declared(text: str) -> dict[str, str]:
    """The lowest version of each direct dependency."""
    names = tomllib.loads(text)["project"]["dependencies"]
    found = (re.match(r"([\w.-]+)(?:\[.*\])?\s*(?:>=|==)\s*([\w.]+)", name) for name in names)
    return {match.group(1).lower(): match.group(2) for match in found if match}


def ours(setting: Setting) -> Figures:
    from workbench.cli.floors import below

    return _counted(_declared(PROJECT.read_text("utf-8")), below())


def lowered(setting: Setting) -> Figures:
    """The project as it would be with old versions allowed and one of them installed."""
    from unittest import mock

    from workbench.cli import floors

    text = PROJECT.read_text("utf-8").replace("transformers>=5.3", "transformers>=4.56")
    with mock.patch.object(floors, "version", lambda name: "4.56.0" if name == "transformers" else "99"):
        return _counted(_declared(text), floors.below())


EXPERIMENT = Experiment(
    name="S5",
    test="floors of the libraries that read foreign data, in what is declared and what is installed",
    target="none too low, none too old, without a network",
    unit="floors (all of them)",
    short=1,
    long=1,
    ours=ours,
    met=lambda f: f["floors"] > 0 and not f["declared too low"] and not f["installed too old"],
    controls={"an old transformers allowed and installed": lowered},
)
