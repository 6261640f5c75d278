"""The second process is for machines with a second core, whatever their system tells of it."""

from __future__ import annotations

import os

import pytest

from workbench.plan import ahead


@pytest.mark.parametrize(("cores", "found"), [(4, 4), (1, 1), (None, 1)])
def test_a_system_that_knows_no_affinity_is_asked_for_its_cores(monkeypatch, cores, found):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert ahead._cores() == found


def test_cores_that_this_process_may_not_use_do_not_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert ahead._cores() == 1


def test_nothing_is_started_on_one_core_of_such_a_system(monkeypatch, small):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    second = ahead.SecondProcess()
    second.ways_out([small] * ahead.SEARCHES, 1 << 20, 1.0)
    assert second._child is None
