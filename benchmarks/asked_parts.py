"""What the benchmarks of lean methods may be asked: which parts, of which models, training or not."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def arguments(doc: str | None, parts: Iterable[str], models: Iterable[str]) -> argparse.Namespace:
    """The command line; what is not named means all."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=tuple(parts))
    parser.add_argument("--model", action="append", choices=tuple(models))
    parser.add_argument("--method", action="append", help="train these alone, and keep what is known of the others")
    parser.add_argument("--stored", action="store_true", help="train nothing")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    asked.part, asked.model = asked.part or list(parts), asked.model or list(models)
    return asked
