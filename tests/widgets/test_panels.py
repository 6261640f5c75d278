"""Panels and forms without a browser: traits, fallbacks, validation."""

import sys
from pathlib import Path
from typing import Literal

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "figures"))

import synthetic

import widgets
import workbench as wb
from widgets.base import STATIC
from workbench import figures
from workbench.core.config import Config, setting
from workbench.core.errors import BadInput


class Sample(Config):
    rank: int = setting(8, "size of the adapter", ge=1, le=64)
    lr: float = setting(1e-3, "peak learning rate", gt=0, le=10)
    rule: Literal["adamw", "sgd"] = setting("adamw", "update rule")
    nested: bool = setting(False, "a switch")
    layers: tuple[int, ...] = setting((1, 2), "which layers")


def test_a_panel_carries_its_figure_and_refuses_another():
    info = figures.pareto(synthetic.comparison())
    panel = widgets.panel_for(info)
    assert isinstance(panel, widgets.ParetoView)
    assert panel.info["points"][0]["label"] == "lora" and "export default" in str(panel._esm)
    with pytest.raises(TypeError):
        widgets.TimelinePanel(info)
    with pytest.raises(TypeError):
        panel.update(figures.curves([]))
    assert widgets.panel_for(figures.curves([])) is None


@pytest.mark.parametrize("module", sorted(STATIC.glob("*.js")), ids=lambda file: file.stem)
def test_keys_go_to_the_control_that_has_the_focus(module: Path):
    """JupyterLab would move between cells on arrow keys that a slider or a choice of the panel needs."""
    rendering = module.read_text().partition("function render({ model, el }) {")[2]
    assert 'addEventListener("focusin"' in rendering and "data-lm-suppress-shortcuts" in rendering


def test_state_of_a_panel_is_small():
    for make in (figures.pareto, figures.timeline, figures.fit):
        state = widgets.panel_for(make(synthetic.comparison())).get_state()
        assert len(str(state)) < 120_000


def test_the_map_of_kept_bytes_has_a_panel_and_a_twin(monkeypatch):
    shown = []
    info = figures.saved_map(synthetic.saved_map())
    panel = widgets.show(info)
    assert isinstance(panel, widgets.SavedMapPanel) and len(str(panel.get_state())) < 40_000
    monkeypatch.setattr("workbench.report.emit.show", shown.append)
    monkeypatch.setenv("PINTPOT_HEADLESS", "1")
    assert widgets.show(panel) is None and shown == [info]


def test_the_search_under_a_budget_has_a_panel():
    panel = widgets.show(figures.budget_search(*synthetic.budget_search()))
    assert isinstance(panel, widgets.BudgetSearchPanel) and len(str(panel.get_state())) < 30_000


def test_show_emits_data_when_nobody_looks_on(monkeypatch):
    shown = []
    monkeypatch.setattr("workbench.report.emit.show", shown.append)
    monkeypatch.setenv("PINTPOT_HEADLESS", "1")
    info = figures.fit(synthetic.comparison())
    assert widgets.show(info) is None
    assert widgets.show(widgets.FitPanel(info)) is None
    assert shown == [info, info]
    monkeypatch.delenv("PINTPOT_HEADLESS")
    assert isinstance(widgets.show(info), widgets.FitPanel)


def test_a_form_has_a_control_for_each_setting_and_validates_as_one():
    made = widgets.form(Sample)
    assert list(made.controls) == ["rank", "lr", "rule", "nested", "layers"]
    assert made.value == Sample()
    assert made.controls["rank"].max == 64
    seen = []
    made.on_change(seen.append)
    made.controls["lr"].value = 99.0
    assert seen == [] and "lr" in made.message.value
    with pytest.raises(BadInput):
        _ = made.value
    made.controls["lr"].value = 0.5
    made.controls["layers"].value = "(3, 4)"
    assert seen[-1].lr == 0.5 and made.value.layers == (3, 4) and made.message.value == ""


def test_what_a_form_says_is_run_and_a_report_keeps_its_table(monkeypatch):
    from workbench.methods.base import methods

    made = widgets.form(methods.get("lora").Config, "lora")
    assert made.chosen == {}
    made.controls["r"].value = 3
    assert made.chosen == {"r": 3} and wb.open(profile="quick").case("lora", **made.chosen).config.r == 3
    kept = []
    monkeypatch.setattr("workbench.report.emit.table", lambda rows, caption: kept.append((rows, caption)))
    monkeypatch.setenv("PINTPOT_HEADLESS", "1")
    assert widgets.show(made) is None
    [(rows, caption)] = kept
    rank = next(row for row in rows if row["setting"] == "r")
    assert rank["value"] == 3 and rank["meaning"]
    assert "form of lora" in caption
    monkeypatch.delenv("PINTPOT_HEADLESS")
    assert widgets.show(made) is made


def test_reading_the_static_modules_imports_no_notebook_library():
    import subprocess

    code = "import sys, workbench.report.page as p; p.modules(); "
    code += "print({'anywidget', 'ipywidgets', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_reading_chain_imports_no_torch():
    import subprocess

    names = (
        "workbench.figures, workbench.stats, workbench.report.run, workbench.report.gallery, workbench.report.exporter"
    )
    code = f"import {names}, workbench.figures.mpl, widgets.panels, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
