"""Import jsonschema, which everything about notebooks imports, without what takes it longest.

Its check of international addresses compiles a grammar of all of them on import: more than a second of CPU, in each
process that opens a notebook. No schema of notebooks has such an address.
"""

from __future__ import annotations

import sys

_GRAMMAR = "rfc3987_syntax"


def quick_schemas() -> None:
    """Import jsonschema now, without its check of international addresses; nothing if that has been imported."""
    if "jsonschema" in sys.modules or _GRAMMAR in sys.modules:
        return
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # as if it were not installed, which jsonschema expects
    try:
        import jsonschema  # noqa: F401
    finally:
        del sys.modules[_GRAMMAR]
