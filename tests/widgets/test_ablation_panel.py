"""The panel of a grid: real runs of the quick profile, begun, stopped and gone on with from the panel."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import widgets
import workbench as wb
from workbench.core.errors import BadInput
from workbench.records.store import RunStore


@pytest.fixture
def bench(tmp_path):
    return replace(wb.open(budget="16 MiB", profile="quick", train=96, epochs=1), store=RunStore(tmp_path))


def test_what_is_missing_is_run_and_shown(bench):
    panel, said = widgets.AblationPanel(bench, method=["lora", "bias"], seed=[0, 1]), []
    assert panel.info["missing"] == 4 and panel.info["live"] and all(c["done"] == 0 for c in panel.info["cells"])
    panel.observe(lambda change: said.append(change["new"]["doing"]), "info")
    bench.run("lora", 1)
    info = panel.wait()
    assert info.missing == 0 and all(c.done == 2 and "score" in c.values for c in info.cells)
    assert (
        any(text.startswith("2 of 4 runs done; bias, seed 0, step 1 of ") for text in said)
        and panel.info["doing"] == ""
    )
    again = widgets.AblationPanel(bench, method=["lora", "bias"], seed=[0, 1])
    assert again.info["missing"] == 0, "the store is the truth"
    still = again.finished()
    assert not still.live and still.command.startswith("pintpot ablate method=lora,bias seed=0,1 ")


def test_stopping_keeps_what_is_done(bench):
    panel = widgets.AblationPanel(bench, method=["lora", "bias"], seed=[0, 1, 2])

    def stop(change):
        if change["new"]["missing"] == 5:
            panel.cancel()

    panel.observe(stop, "info")
    info = panel.wait()
    assert 0 < info.missing < 6 and info.doing == "" and info.problem == ""
    panel.unobserve(stop, "info")
    assert panel.wait().missing == 0


def test_a_cell_that_runs_again_stops_what_it_began(bench, monkeypatch):
    places, again = iter([("a", 1), ("b", 2), ("a", 3)]), []
    monkeypatch.setattr("widgets.place.cell_under_way", lambda: next(places))
    panel = widgets.AblationPanel(bench, method=["lora", "bias"], seed=[0, 1, 2])
    other = widgets.AblationPanel(bench, method=["head"], seed=[0])

    def run_the_cell(change):
        if change["new"]["missing"] == 5 and not again:
            again.append("begun")  # cancelling the panel changes it once more
            again.append(widgets.AblationPanel(bench, method=["lora", "bias"], seed=[0, 1, 2]))

    panel.observe(run_the_cell, "info")
    panel.start()
    other.start()
    assert other.info["doing"] == "Waiting for the run before."
    assert other.wait().missing == 0, "the cell beside it goes on"
    assert panel.info["doing"] == "" and 0 < panel.info["missing"] < 6 and again[1].info["missing"] == 5


def test_awaiting_runs_the_rest_while_the_loop_stays_free(bench):
    async def ask():
        panel, beats = widgets.AblationPanel(bench, method=["lora"], seed=[0, 1]), []

        async def beat():
            while True:
                beats.append(panel.info["doing"])
                await asyncio.sleep(0.05)

        beating = asyncio.ensure_future(beat())
        info = await panel
        beating.cancel()
        return info, beats

    with ThreadPoolExecutor(1) as fresh:  # a browser test before this one may have left a loop running in its thread
        info, beats = fresh.submit(asyncio.run, ask()).result()
    assert info.missing == 0 and len(beats) > 3 and any("runs done" in text for text in beats)


def test_an_axis_that_means_nothing_is_refused_before_anything_runs(bench):
    with pytest.raises(BadInput, match="r"):
        widgets.AblationPanel(bench, method=["full"], r=[4])
    with pytest.raises(BadInput, match=r"batch: 512 .* at most the 96 training examples"):
        widgets.AblationPanel(bench, method=["head"], batch=[4, 512])
    with pytest.raises(BadInput, match="seed"):
        widgets.AblationPanel(bench, method=["full"], seed=[-1])
