"""Steps between an executed notebook and its page: clean up, find failures, lift what belongs to fixed places."""

from __future__ import annotations

from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode, from_dict

from workbench.core.redaction import redacted
from workbench.report import emit


class DropRunnerMarks(Preprocessor):
    """Remove the cells that the runner adds on failure: the page brands failures itself."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        nb.cells = [c for c in nb.cells if not _tags(c) & {"papermill-error-cell-tag", "remove-cell"}]
        return nb, resources


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


class HidePersonal(Preprocessor):
    """Name by role what is personal in every output and every source, so that a report tells on nobody."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        cell.source = redacted(cell.source)
        if "outputs" in cell:
            cell.outputs = [from_dict(redacted(output)) for output in cell.outputs]
        return cell, resources


class MarkFailures(Preprocessor):
    """Note the number (from 1, over code cells) of each failed cell in ``resources['failed']``, and mark every cell
    behind the first of them that was not run."""

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
            elif resources["failed"] and not cell.get("execution_count") and not cell.outputs:
                cell.metadata["pintpot_not_run"] = True
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
