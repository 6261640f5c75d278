"""All reports at once: each takes of the parameters those it has, and one that none has is refused first."""

from __future__ import annotations

from workbench.cli import reporting
from workbench.report.run import available


def test_every_report_gets_its_own_parameters() -> None:
    own = reporting._own({"profile": "quick", "models": ["llama-2-7b"]})
    assert sorted(own) == sorted(available())
    assert own["compare-methods"] == {"profile": "quick"}
    assert own["large-models"] == {"models": ["llama-2-7b"]}


def test_a_parameter_that_no_report_has_is_refused_before_anything_runs(pintpot, folders) -> None:
    outcome = pintpot("report", "all", "-p", "profil=quick")
    assert outcome.code == 2 and "profile" in outcome.err
    assert folders.files() == set()


def test_what_belongs_to_a_report_asks_for_its_name(pintpot):
    outcome = pintpot("report", "-p", "profile=quick")
    assert outcome.code == 2 and outcome.err.startswith("pintpot: report: ") and "first-run" in outcome.err
    assert pintpot("report").code == 0
