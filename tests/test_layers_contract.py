"""The layers: import-linter keeps the contracts, and the diagram in ARCHITECTURE.md says the same as they do."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
Layer = frozenset[str]


def _layers(contract: str) -> list[Layer]:
    """Layers of one contract, highest first, without the package's name."""
    found = next(c for c in CONTRACTS if c["id"] == contract)
    return [frozenset(part.strip().removeprefix("workbench.") for part in line.split("|")) for line in found["layers"]]


def _drawn() -> set[tuple[Layer, Layer]]:
    """Arrows of the diagram: from the layer that imports to the next one below it."""
    block = re.search(r"```mermaid\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert block, "no diagram"
    arrows = re.findall(r"^\s*([\w &]+?)\s*-->\s*([\w &]+?)\s*$", block.group(1), re.MULTILINE)
    return {(_members(above), _members(below)) for above, below in arrows}


def _members(text: str) -> Layer:
    return frozenset(part.strip() for part in text.split("&"))


def test_the_diagram_is_the_contracts() -> None:
    declared = {pair for name in ("engine", "reading") for pair in pairwise(_layers(name))}
    assert _drawn() == declared


def test_every_module_has_its_layer() -> None:
    placed = {name for contract in ("engine", "reading") for layer in _layers(contract) for name in layer}
    found = {p.stem for p in (ROOT / "workbench").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert found - {"__init__"} == placed


def test_the_contracts_are_kept() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.is_file():
        pytest.skip("import-linter is not installed; pip install 'pintpot[dev]'")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_linter_would_notice(tmp_path: Path) -> None:
    """A layer that imports a higher one is reported: the contracts are not vacuous."""
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.is_file():
        pytest.skip("import-linter is not installed; pip install 'pintpot[dev]'")
    package = tmp_path / "workbench"
    for name in ("core", "records"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("import workbench.records\n" if name == "core" else "")
    (package / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["workbench"]\n[[tool.importlinter.contracts]]\nname = "layers"\n'
        'type = "layers"\nlayers = ["workbench.records", "workbench.core"]\n'
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [tool, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=180, env=environment
    )
    assert done.returncode == 1
    assert "workbench.core is not allowed to import workbench.records" in done.stdout


def test_no_source_file_is_long() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in (ROOT / "workbench").rglob("*.py")}
    assert {name: count for name, count in lengths.items() if count > 320} == {}
