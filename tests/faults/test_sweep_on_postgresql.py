"""The same store and the same sweeps on a real PostgreSQL server; skipped, with the reason, where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.core.errors import ResourceMissing
from workbench.records.schema import State
from workbench.records.store import RunStore

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from faults.frame import Absent
    from faults.server import postgresql

    try:
        with postgresql() as found:
            yield found
    except Absent as error:
        pytest.skip(str(error))


def test_records_come_back_equal_and_count_once(url: str, tmp_path: Path) -> None:
    from faults.examples import RECORD

    store = RunStore(tmp_path, url)
    assert store.put("key", dataclasses.replace(RECORD, state=State.CANCELLED))
    assert store.put("key", dataclasses.replace(RECORD, id="second"))
    assert not store.put("key", dataclasses.replace(RECORD, id="third"))
    assert [line.id for line in store.lines()] == ["second"]
    assert store.finished("key") == dataclasses.replace(RECORD, id="second")
    assert store.damaged() == [] and store.health().complaints == ()
    store.delete("second")
    assert store.lines() == [] and not store.file.exists()


def test_two_sweeps_with_their_own_folders_share_one_grid(url: str, tmp_path: Path) -> None:
    """As two machines would: nothing in common but the server."""
    import time

    from faults.sweeping import Crew, cells

    complaints = (tmp_path / "complaints").open("w+b")
    crews = [Crew(tmp_path / f"machine-{i}", 0, 16, workers=1, url=url, stderr=complaints) for i in range(2)]
    try:
        until = time.monotonic() + 120
        while not all(crew.ended for crew in crews) and time.monotonic() < until:
            time.sleep(0.2)
        heard = [set(crew.hear()) for crew in crews]
    finally:
        for crew in crews:
            crew.kill()
    assert (tmp_path / "complaints").read_text() == ""
    store = RunStore(tmp_path / "reader", url)
    assert store.finished_keys() == {cell.key() for cell in cells(0, 16)}
    assert heard[0] == heard[1] == {line.id for line in store.lines()}


def test_a_server_that_cannot_be_reached_is_one_sentence_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ResourceMissing, match="cannot be reached") as caught:
        RunStore(tmp_path, "postgresql+psycopg://someone:hidden@127.0.0.1:9/runs").lines()
    assert "hidden" not in str(caught.value)
