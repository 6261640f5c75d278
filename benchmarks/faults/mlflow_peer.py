"""MLflow's stores as peers: two writers that are killed, then the listing of what they acknowledged."""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import time
import warnings
from multiprocessing.connection import Connection

from faults.children import child
from faults.frame import Absent, Figures, Setting

KILLS = 60


def _client(url: str):  # type: ignore[no-untyped-def]
    os.environ["MLFLOW_ENABLE_TELEMETRY"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from mlflow import MlflowClient

    return MlflowClient(url)


def _write(says: Connection, url: str, experiment: str) -> None:
    client = _client(url)
    says.send("ready")
    while True:
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "loss", 0.5)
        client.set_terminated(run.info.run_id)
        says.send(run.info.run_id)


def _look(says: Connection, url: str, experiment: str, acknowledged: set[str]) -> None:
    client = _client(url)
    found: Figures = {"acknowledged": len(acknowledged), "lost": 0, "listing": "works"}
    for run in acknowledged:
        try:
            found["lost"] += client.get_run(run).info.status != "FINISHED"
        except Exception:
            found["lost"] += 1
    try:
        runs, token = [], None
        while True:
            page = client.search_runs([experiment], max_results=1000, page_token=token)
            runs += page
            if not (token := page.token):
                break
        found["left running"] = sum(run.info.status == "RUNNING" for run in runs)
    except Exception as error:
        found["listing"] = f"fails: {type(error).__name__}"
    says.send(found)


def _begin(says: Connection, url: str) -> None:
    says.send(_client(url).create_experiment("peer"))


def killed(setting: Setting, kind: str) -> Figures:
    """``kind`` is ``file`` or ``sqlite``."""
    if importlib.util.find_spec("mlflow") is None:
        raise Absent("mlflow is not installed (pip install mlflow-skinny)")
    place = setting.folder / "peer"
    url = f"file:{place}" if kind == "file" else f"sqlite:///{place}.sqlite"
    begun = child(_begin, url).rest()
    if not begun or begun[-1][0] == "failed":
        raise Absent(f"mlflow's {kind} store does not begin here: {begun[-1][1] if begun else 'it died'}"[:160])
    experiment = begun[-1]
    chance, acknowledged, kills = random.Random(setting.seed), set(), 0
    while kills < KILLS:
        pair = [child(_write, url, experiment) for _ in range(2)]
        for one in pair:
            one.hear(120)
        time.sleep(chance.uniform(0.05, 0.4))
        for one in pair:
            acknowledged |= {run for run in one.kill() if isinstance(run, str)}
            kills += 1
    found: Figures = {"kills": kills, **child(_look, url, experiment, acknowledged).rest()[-1]}
    return found
