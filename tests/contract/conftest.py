"""One warm process for the whole battery, and a printed count of checks per method."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Predictions of this run only; what the libraries hold is taken out of every garbage collection."""
    import peft  # noqa: F401
    import transformers  # noqa: F401

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINTPOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = Path(__file__).parent.name
    passed: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", ()):
        if f"{here}/test_method_contract" in report.nodeid and "[" in report.nodeid:
            passed[report.nodeid.partition("[")[2].partition("::")[0].partition("-on-")[0]] += 1
    if passed:
        line = ", ".join(f"{name} {count}" for name, count in sorted(passed.items()))
        terminalreporter.write_line(f"contract checks passed per method: {line}; {passed.total()} in all")
