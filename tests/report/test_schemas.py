"""Opening a notebook does not compile a grammar of addresses, and checks what it checked."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import sys
from workbench.report.schemas import quick_schemas
quick_schemas()
import jsonschema, nbformat
from nbformat.v4 import new_notebook
assert "lark" not in sys.modules and "rfc3987_syntax" not in sys.modules
nbformat.validate(new_notebook())
try:
    nbformat.validate({"cells": 3})
except nbformat.ValidationError:
    print("checked")
import rfc3987_syntax
"""


def test_the_grammar_of_addresses_is_left_out_and_schemas_are_checked() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "checked" and done.returncode == 0, done.stderr
