"""The panel that trains: real runs of the quick profile, each ending as a state with its sentence."""

import json
import shlex
import threading
from dataclasses import replace

import pytest

import widgets
import workbench as wb
from widgets.run_queue import RunQueue
from workbench.core.errors import BadInput
from workbench.records.schema import State
from workbench.records.store import RunStore


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return replace(
        wb.open(budget="16 MiB", profile="quick", train=96, epochs=2), store=RunStore(tmp_path_factory.mktemp("runs"))
    )


def when(panel, stage, act):
    """Call ``act`` once, from the run's own thread, as soon as the panel shows ``stage``."""
    done = []

    def look(change):
        if change["new"]["state"] == stage and not done:
            done.append(True)
            act()

    panel.observe(look, "info")


def test_a_run_shows_its_stages_and_leaves_the_record_of_the_bench(bench):
    panel, seen = widgets.RunPanel(bench, "lora", r=4), []
    assert panel.info["state"] == "ready" and panel.record is None
    panel.observe(lambda change: seen.append(change["new"]), "info")
    panel.start()
    record = panel.wait()
    assert record is panel.record and record.state is State.DONE and record == bench.store.get(record.id)
    stages = list(dict.fromkeys(info["state"] for info in seen))
    assert stages[-3:] == ["preparing", "running", "done"]
    running = next(info for info in seen if info["state"] == "running")
    assert running["planned"] == len(record.steps) == 12 and running["source"] == "measured"
    assert running["seconds_left"] is not None and not running["over"]
    last = panel.info
    assert last["highest"] == max(s.peak for s in record.steps) and last["losses"][-1] == pytest.approx(
        record.steps[-1].loss, rel=1e-5
    )
    assert last["by_category"] == [record.measured.by_category[c] for c in last["categories"]]
    again = widgets.RunPanel(bench, "lora", r=4)
    assert again.wait().id == record.id and "Taken from the store" in again.figure.sentence


def test_the_command_and_the_python_of_a_panel_find_its_run(bench, capsys, monkeypatch):
    from workbench.cli import main

    panel = widgets.RunPanel(bench, "bias", accumulate=2)
    record = panel.wait()
    assert (record.batch, record.accumulate) == (bench.batch, 2)
    monkeypatch.setenv("PINTPOT_RUNS", str(bench.store.folder))
    monkeypatch.setattr("sys.argv", [*shlex.split(panel.figure.command), "--json"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0 and json.loads(capsys.readouterr().out)["id"] == record.id
    space = {}
    exec(panel.figure.python, space)
    assert space["record"].id == record.id


def test_a_cancelled_panel_with_checkpoints_goes_on_where_it_stopped(bench):
    panel = widgets.RunPanel(bench, "lora", seed=11, checkpoint_every=100)
    when(panel, "running", panel.cancel)
    kept = len(panel.wait().steps)
    assert panel.info["state"] == "cancelled" and f"after step {kept} is kept" in panel.figure.sentence
    panel.start()
    record = panel.wait()
    assert record.state is State.DONE and len(panel.info["losses"]) == len(record.steps) == 12
    assert (
        f"Resumed after step {kept}" in panel.figure.sentence or f"resumed after step {kept}" in panel.figure.sentence
    )


def test_cancelling_is_shown_at_once_and_the_partial_run_is_kept(bench):
    panel, seen = widgets.RunPanel(bench, "lora", seed=7), []

    def press():
        panel._handle_custom_msg({"do": "cancel"}, [])
        seen.append((panel._cancel.is_set(), panel.info["state"]))

    when(panel, "running", press)
    panel._handle_custom_msg({"do": "start"}, [])
    record = panel.wait()
    assert seen == [(True, "cancelling")], "signalled, and said, before the call returns"
    assert record.state is State.CANCELLED and 0 < len(record.steps) < record.planned_steps
    assert bench.store.get(record.id) == record, "the partial run is kept, and marked"
    assert panel.info["state"] == "cancelled" and "steps done are kept" in panel.info["sentence"]
    assert panel.wait() is record
    panel.start()
    assert panel.wait().state is State.DONE, "it can be started again"


def test_a_run_that_is_done_is_trained_again_and_its_result_stands(bench):
    panel = widgets.RunPanel(bench, "head", seed=41)
    first = panel.wait()
    seconds = [step.seconds for step in first.steps]
    panel.start()
    again = panel.wait()
    assert again.state is State.DONE and [s.seconds for s in again.steps] != seconds, "steps were done, not looked up"
    assert "Trained again, to the same losses as the stored run." in panel.info["sentence"]
    assert again.id == first.id and bench.store.get(first.id) == first


def test_a_budget_too_small_is_a_state_with_ways_out(bench):
    panel = widgets.RunPanel(replace(bench, budget=3 * 2**20), "full")
    record = panel.wait()
    assert record.state is State.REFUSED and panel.info["bad"] and panel.info["steps"] == []
    for part in ("budget of 3.00 MiB", "saved for backward", "convolution_backward", "blocks."):
        assert part in panel.info["reason"]
    assert panel.info["ways"] == list(record.ways) and all("predicted" in way for way in record.ways)
    assert bench.store.get(record.id).ways == record.ways, "looked for once, and kept"
    assert panel.info["source"].startswith("predicted") and sum(panel.info["by_category"]) == record.predicted.peak


def test_a_search_for_ways_out_that_breaks_leaves_the_refusal(bench, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("inside")

    monkeypatch.setattr("workbench.plan.refusal.ways_out", broken)
    panel = widgets.RunPanel(replace(bench, budget=3 * 2**20), "full", seed=5)
    assert panel.wait().state is State.REFUSED and "search for ways out failed: inside" in panel.info["sentence"]


def test_the_guard_ends_a_run_that_no_prediction_refused(bench, monkeypatch):
    monkeypatch.setattr("workbench.session._prediction", lambda case: None)  # as for a step that cannot be traced
    panel = widgets.RunPanel(replace(bench, budget=3 * 2**20), "full", seed=1)
    record = panel.wait()
    assert record.state is State.OVER_BUDGET and panel.info["bad"] and panel.info["state"] == "over budget"
    for part in ("(3145728 bytes)", " asks ", " for saved for backward", "are live"):
        assert part in panel.info["reason"]
    assert panel.info["ways"] == list(record.ways) and record.ways[0].startswith("batch ")


def test_divergence_and_what_does_not_apply_are_states_too(bench, monkeypatch):
    monkeypatch.setattr("workbench.session.Schedule.factor", lambda *_: 1e30)
    panel = widgets.RunPanel(bench, "full", seed=2)
    assert panel.wait().state is State.DIVERGED and "loss became" in panel.info["reason"]
    other = widgets.RunPanel(bench, "lora", seed=3)
    other.bench = replace(bench, batch=4096)
    assert other.wait().state is State.REFUSED and "training examples" in other.info["reason"]
    with pytest.raises(BadInput, match="lora"):
        widgets.RunPanel(bench, "loraa")
    with pytest.raises(BadInput, match="rank"):
        widgets.RunPanel(bench, "lora", rank=4)


def test_an_error_in_a_library_is_a_state(bench, monkeypatch):
    def broken(*_, **__):
        raise KeyError("inside")

    monkeypatch.setattr("workbench.session.Session.prepare", broken)
    panel = widgets.RunPanel(bench, "lora", seed=4)
    assert panel.wait().state is State.FAILED and panel.info["reason"].startswith("KeyError")


def test_a_second_run_waits_and_one_that_waits_can_be_cancelled(bench):
    first, second, third = (widgets.RunPanel(bench, "bias", seed) for seed in (10, 11, 12))
    seen = []

    def press():
        second.start()
        third.start()
        third.cancel()
        seen.append((second.info["state"], third.info["state"], third.record.reason))

    when(first, "running", press)
    when(second, "preparing", lambda: seen.append(first.record is not None))
    first.start()
    assert first.wait().state is State.DONE and second.wait().state is State.DONE
    assert seen == [("queued", "cancelled", "cancelled before it began"), True]


def test_a_new_panel_of_the_same_run_and_closing_cancel_the_earlier(bench):
    first, seen = widgets.RunPanel(bench, "lora", seed=20), []
    when(first, "running", lambda: seen.append(widgets.RunPanel(bench, "lora", seed=20)))
    first.start()
    assert first.wait().state is State.CANCELLED and seen[0].info["state"] == "ready"
    closed = widgets.RunPanel(bench, "lora", seed=21)
    when(closed, "running", closed.close)
    closed.start()
    assert closed.wait().state is State.CANCELLED


def test_a_cell_that_runs_again_cancels_what_it_began(bench, monkeypatch):
    places = iter([("a", 1), ("a", 1), ("b", 2), ("a", 3)])
    monkeypatch.setattr("widgets.place.cell_under_way", lambda: next(places))
    one, two, other = (widgets.RunPanel(bench, "bias", seed) for seed in (30, 31, 32))
    seen = []
    when(one, "running", lambda: seen.append(widgets.RunPanel(bench, "head", 33)))
    for panel in (one, two, other):
        panel.start()
    states = [panel.wait().state for panel in (one, two, other)]
    assert states == [State.CANCELLED, State.CANCELLED, State.DONE]


def test_the_thread_ends_when_nothing_waits_and_never_keeps_a_kernel(bench):
    queue, ran = RunQueue(), threading.Event()
    threads = []
    queue.put(lambda: (threads.append(threading.current_thread()), ran.set()))
    assert ran.wait(60)
    threads[0].join(60)
    assert not threads[0].is_alive() and threads[0].daemon
    assert queue._thread is None


def test_headless_runs_to_the_end_and_emits_the_twin(bench, monkeypatch):
    shown = []
    monkeypatch.setattr("workbench.report.emit.show", shown.append)
    monkeypatch.setenv("PINTPOT_HEADLESS", "1")
    panel = widgets.run(bench, "lora", r=4)
    assert shown == [panel.finished()] and shown[0].state == "done" and not shown[0].live
    assert isinstance(widgets.panel_for(shown[0]), widgets.RunView)


def test_updates_go_through_the_kernels_loop_and_do_not_pile_up(bench, monkeypatch):
    posted = []
    monkeypatch.setattr("widgets.run_panel.on_kernel_thread", posted.append)
    panel = widgets.RunPanel(bench, "lora", r=4)
    panel.start()
    assert panel._over.wait(60) and len(posted) == 1, "one update waits while the kernel is busy"
    assert panel.info["state"] == "ready", "nothing is sent from another thread"
    posted[0]()
    assert panel.info["state"] == "done"


def test_a_pinned_run_stays_in_sight_of_every_panel(bench):
    first, second = widgets.RunPanel(bench, "lora", r=4), widgets.RunPanel(bench, "bias")
    first.pin()
    assert widgets.pinned() == [], "a run that has not been has no curves"
    compared = widgets.PinnedRuns()
    record = first.wait()
    first._handle_custom_msg({"do": "pin"}, [])
    assert widgets.pinned() == [record] and first.info["is_pinned"] and first.info["pins"] == []
    second.wait()
    (pin,) = second.info["pins"]
    assert pin["id"] == record.id and ["method", "lora", "bias"] in pin["differs"] and not pin["partial"]
    assert pin["peaks"] == [s.peak for s in record.steps] and second.finished().pins
    second.pin()
    assert [p["id"] for p in first.info["pins"]] == [second.record.id]
    assert len(compared.info["columns"]) == 2
    second._handle_custom_msg({"do": "unpin", "run": record.id}, [])
    second.unpin()
    assert widgets.pinned() == [] and first.info["pins"] == second.info["pins"] == []
    assert compared.info["columns"] == [] and not first.info["is_pinned"]


def test_what_is_held_before_a_step_is_recorded_by_category(bench):
    record = widgets.RunPanel(bench, "full").wait()
    first, second, *rest = record.steps
    assert set(first.held) == {"weights", "inputs"} and set(second.held) == {"weights", "inputs", "optimizer state"}
    weights, state = record.measured.by_category["weights"], record.measured.by_category["optimizer state"]
    assert second.held["weights"] == weights and second.held["optimizer state"] == state
    assert not any(s.held for s in rest) and all(sum(second.held.values()) < s.peak for s in rest)
