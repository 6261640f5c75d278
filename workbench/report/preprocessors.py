"""Steps between an executed notebook and its page: clean up, find failures, lift what belongs to fixed places."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from workbench.core.paths import checkout
from workbench.report import emit

_KERNEL_FILE = re.compile(r"(/[\w.-]+)*/ipykernel_\d+/\d+\.py")


class DropRunnerMarks(Preprocessor):
    """Remove the cells that the runner adds on failure: the page brands failures itself."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        nb.cells = [c for c in nb.cells if not _tags(c) & {"papermill-error-cell-tag", "remove-cell"}]
        return nb, resources


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


class HidePaths(Preprocessor):
    """Replace absolute paths of this machine in every text output, so that a report names nobody's home."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        for output in cell.get("outputs", []):
            for key in ("text", "evalue", "traceback"):
                if key in output:
                    output[key] = without_paths(output[key])
            for mime in ("text/plain", "text/html"):
                if mime in output.get("data", {}):
                    output["data"][mime] = without_paths(output["data"][mime])
        return cell, resources


def without_paths(value: Any) -> Any:
    """The text with checkout, interpreter, package and home folders named by role."""
    if isinstance(value, list):
        return [without_paths(v) for v in value]
    if not isinstance(value, str):
        return value
    places = [(sys.prefix, "<python>"), (str(checkout() or ""), "<checkout>"), (str(Path.cwd()), "."),
              (sys.base_prefix, "<python>"), (str(Path.home()), "~")]  # fmt: skip
    for place, name in places:
        if len(place) > 4:
            value = value.replace(place, name)
    return _KERNEL_FILE.sub("<cell>", value)


class MarkFailures(Preprocessor):
    """Note the number (from 1, over code cells) of each failed cell in ``resources['failed']``."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        resources["failed"] = []
        number = 0
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            number += 1
            cell.metadata["pintpot_number"] = number
            if any(o.output_type == "error" for o in cell.outputs):
                resources["failed"].append(number)
        return nb, resources


class LiftParts(Preprocessor):
    """Take answer, provenance, command and parameters out of their cells into ``resources``: they have fixed places."""

    _PLACES = {
        emit.ANSWER: "answer",
        emit.PROVENANCE: "provenance",
        emit.COMMAND: "command",
        emit.PARAMETERS: "parameters",
    }

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        for place in self._PLACES.values():
            resources.setdefault(place, {})
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [o for o in cell.outputs if not self._lifted(o, resources)]
        return nb, resources

    def _lifted(self, output: NotebookNode, resources: dict[str, Any]) -> bool:
        for mime, place in self._PLACES.items():
            if mime in output.get("data", {}):
                resources[place] = dict(output["data"][mime])
                return True
        return False
