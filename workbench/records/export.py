"""The readable runs of a store as one file for other tools: JSON with everything, CSV with a row per run."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from workbench.core.errors import BadInput, ResourceMissing
from workbench.records.schema import RunRecord
from workbench.records.store import RunStore

_FACTS = ("id", "task", "model", "method", "seed", "state", "reason", "device", "budget", "batch", "accumulate",
          "length", "profile", "planned_steps", "trainable", "parameters", "adapter_bytes", "seconds",
          "created")  # fmt: skip


def export(store: RunStore, file: Path) -> int:
    """Write every readable run to ``file`` (``.json`` or ``.csv``) and give their number.

    The file is there whole or not at all; one that exists is refused. Raises ``BadInput``.
    """
    writers = {".json": _json, ".csv": _csv}
    if file.suffix not in writers:
        raise BadInput("export", str(file), "a file that ends in .json or .csv")
    if file.exists():
        raise BadInput("export", str(file), "a file that does not exist yet")
    aside = file.with_name(f"{file.name}.tmp")
    try:
        with aside.open("w", newline="") as stream:
            count = writers[file.suffix](stream, store.records())
            stream.flush()
            os.fsync(stream.fileno())
        aside.rename(file)
    except OSError as error:
        raise ResourceMissing(f"{file.name} cannot be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)
    return count


def _json(stream: TextIO, records: Iterable[RunRecord]) -> int:
    count = 0
    stream.write("[")
    for record in records:
        stream.write((",\n" if count else "\n") + json.dumps(record.to_dict()))
        count += 1
    stream.write("\n]\n")
    return count


def _csv(stream: TextIO, records: Iterable[RunRecord]) -> int:
    rows = list(_rows(records))
    settings = sorted({name for row in rows for name in row if name.startswith("setting ")})
    measured = ("score", "score name", "predicted peak", "measured peak", "step seconds", "loss at the end")
    writer = csv.DictWriter(stream, (*_FACTS, *measured, *settings))
    writer.writeheader()
    writer.writerows(rows)
    return len(rows)


def _rows(records: Iterable[RunRecord]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield {
            **{name: getattr(record, name) for name in _FACTS},
            "score": record.accuracy,
            "score name": record.score.get("name"),
            "predicted peak": record.predicted.peak if record.predicted else None,
            "measured peak": record.measured.peak if record.measured else None,
            "step seconds": record.step_time.value if record.step_time else None,
            "loss at the end": record.steps[-1].loss if record.steps else None,
            **{f"setting {name}": value for name, value in record.config.items()},
        }
