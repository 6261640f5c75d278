"""Break things on purpose and count: kills, damaged files, full disks, jumping clocks. Stores figures, writes a page.

    OMP_NUM_THREADS=1 python benchmarks/reliability.py [NAME ...] [--short] [--size N] [--seed N] [--page]

Without names every experiment runs (an hour or two). Figures go to ``results/reliability.json`` and from there to
``docs/reliability.md``; ``--page`` only writes the page, ``--short`` runs the small sizes and stores nothing.
The command fails when a target is missed or a negative control passes.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import reliability_page
from faults.frame import Absent, Experiment, Outcome, conduct, experiments, peers_of

from workbench.core.errors import UnknownName
from workbench.environment import environment, now

RESULTS = Path(__file__).resolve().parent / "results" / "reliability.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="R1, R2, ...; all if none")
    parser.add_argument("--short", action="store_true", help="the small sizes; nothing is stored")
    parser.add_argument("--size", type=int, help="another number of faults than the full one; stored as such")
    parser.add_argument("--seed", type=int, help="of what is killed and damaged; a fresh one if not given")
    parser.add_argument("--peers", choices=("too", "not", "alone"), default="too", help="alone: beside a stored run")
    parser.add_argument("--page", action="store_true", help="only write the page from what is stored")
    given = parser.parse_args()
    known = experiments()
    if given.page:
        reliability_page.write(stored(), known)
        return 0
    for name in given.names:
        if name not in known:
            raise SystemExit(str(UnknownName("experiment", name, known)))
    seed = secrets.randbits(31) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    chosen = [known[name] for name in given.names or known]
    if given.size is not None:
        chosen = [replace(experiment, long=given.size) for experiment in chosen]
    if given.peers == "alone":
        for experiment in chosen:
            keep_peers(experiment, seed)
        reliability_page.write(stored(), known)
        return 0
    peers = given.peers == "too" and not given.short
    sound = [examine(experiment, seed, long=not given.short, peers=peers) for experiment in chosen]
    if not given.short:
        reliability_page.write(stored(), known)
    return 0 if all(sound) else 1


def examine(experiment: Experiment, seed: int, *, long: bool, peers: bool) -> bool:
    """Run one experiment, say how it went, store a long one; whether the target is met and every control fails."""
    print(f"{experiment.name} {experiment.test}", flush=True)
    try:
        outcome = conduct(experiment, seed=seed, long=long, peers=peers)
    except Absent as error:
        print(f"  not run: {error}", flush=True)
        return False
    print(f"  ours {'met' if outcome.met else 'MISSED'} {json.dumps(outcome.figures)}")
    for kind in ("controls", "peers"):
        for name, figures in getattr(outcome, kind).items():
            print(f"  {kind[:-1]} {name}: {json.dumps(figures)}")
    print(f"  controls {'failed, as they must' if outcome.controls_failed else 'PASSED: this test sees nothing'}")
    print(f"  {outcome.seconds:.0f} s", flush=True)
    if long:
        keep(experiment, outcome, seed)
    return outcome.met and outcome.controls_failed


def keep(experiment: Experiment, outcome: Outcome, seed: int) -> None:
    """Store the figures, beside those of other experiments."""
    full = experiments()[experiment.name].long
    size = "" if experiment.long == full else f" --size {experiment.long}"
    command = f"python benchmarks/reliability.py {experiment.name}{size} --seed {seed}"
    row = {"when": now(), "command": command, "size": experiment.long, "host": environment(), **asdict(outcome)}
    if not outcome.peers:
        row["peers"] = stored().get(experiment.name, {}).get("peers", {})
    rows = {**stored(), experiment.name: row}
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def keep_peers(experiment: Experiment, seed: int) -> None:
    """Run the peers alone and put their figures beside those of ours that are stored."""
    found = peers_of(experiment, seed=seed, long=True)
    print(f"{experiment.name} {json.dumps(found)}", flush=True)
    rows = stored()
    if experiment.name not in rows:
        raise SystemExit(f"{experiment.name}: run it once before its peers alone")
    rows[experiment.name]["peers"] = found
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
