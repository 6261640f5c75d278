"""The run panel in a real kernel: what a front end receives over the comm while no cell runs, and what it may ask."""

import sys

import pytest
from jupyter_client import KernelManager

SETUP = """
import threading, widgets, workbench as wb
from dataclasses import replace
from pathlib import Path
from workbench.records.store import RunStore
bench = replace(wb.open(budget="16 MiB", profile="quick", epochs=400), store=RunStore(Path({folder!r})))
panel = widgets.RunPanel(bench, "bias")
"""


@pytest.fixture(scope="module")
def client():
    manager = KernelManager()
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=180)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def updates(client):
    """Each ``info`` that reaches the front end, as it comes."""
    while True:
        message = client.get_iopub_msg(timeout=180)
        content = message["content"]
        if message["header"]["msg_type"] == "comm_msg" and content["data"].get("method") == "update":
            info = content["data"]["state"].get("info")
            if info is not None:
                yield content["comm_id"], info


def ask(client, comm, what):
    data = {"method": "custom", "content": {"do": what}}
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm, "data": data}))


def said(client, code):
    """What an expression is, asked of the kernel."""
    reply = client.execute_interactive("", user_expressions={"it": code}, timeout=180, output_hook=lambda _: None)
    return reply["content"]["user_expressions"]["it"]["data"]["text/plain"]


def test_updates_arrive_without_a_cell_and_cancel_is_answered(client, tmp_path):
    reply = client.execute_interactive(SETUP.format(folder=str(tmp_path)), timeout=120)
    assert reply["content"]["status"] == "ok"
    comm = said(client, "panel.comm.comm_id").strip("'")
    ask(client, comm, "start")
    states, cancelled = [], False
    for found, info in updates(client):
        if found != comm:
            continue
        states.append(info["state"])
        if info["state"] == "running" and info["done"] > 1 and not cancelled:
            cancelled = True
            ask(client, comm, "cancel")
        if info["over"]:
            break
    assert states[-2:] == ["cancelling", "cancelled"] and "running" in states
    assert 1 < info["done"] < info["planned"] == 10_000
    assert said(client, "panel.record.state.value, len(panel.record.steps)") == f"('cancelled', {info['done']})"
    assert said(client, "[t for t in threading.enumerate() if t.name == 'pintpot-run' and not t.daemon]") == "[]"


def test_cancel_is_heard_while_a_cell_awaits_the_run(client, tmp_path):
    client.execute_interactive(SETUP.format(folder=str(tmp_path)), timeout=120)
    comm = said(client, "panel.comm.comm_id").strip("'")
    client.execute("record = await panel")
    states = []
    for found, info in updates(client):
        if found != comm:
            continue
        states.append(info["state"])
        if states.count("running") == 2:
            ask(client, comm, "cancel")
        if info["over"]:
            break
    assert states[-2:] == ["cancelling", "cancelled"]
    assert said(client, "record is panel.record, record.state.value") == "(True, 'cancelled')"


def test_a_cell_that_runs_again_takes_over(client, tmp_path):
    client.execute_interactive(SETUP.format(folder=str(tmp_path)), timeout=120)

    def cell(code):
        message = client.session.msg("execute_request", {"code": code, "silent": False, "store_history": True,
                                                         "user_expressions": {}, "allow_stdin": False})  # fmt: skip
        message["metadata"]["cellId"] = "the same cell"
        client.shell_channel.send(message)

    cell("earlier = globals().get('later'); later = widgets.RunPanel(bench, 'bias', 1); later.start()")
    cell("earlier = globals().get('later'); later = widgets.RunPanel(bench, 'bias', 2); later.start()")
    assert said(client, "earlier.wait().state.value") == "'cancelled'"
    assert said(client, "later.figure.over") == "False"
    assert said(client, "later.cancel(), later.wait().state.value").endswith("'cancelled')")
