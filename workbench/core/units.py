"""Parse and print bytes, seconds and joules. Bytes are plain ``int`` everywhere and carry no suffix."""

from __future__ import annotations

import math
import re

from workbench.core.errors import BadInput

_FACTORS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z]*)\s*$")
_EXPECTED = "a positive size such as 256MiB, 1.5 GB or 4096 (bytes)"


def parse_size(value: str | int | float, field: str = "budget") -> int:
    """Bytes from ``256MiB``, ``1.5 GB`` or a plain number of bytes; refuses 0, negatives, NaN and other units.

    >>> parse_size("256 MiB")
    268435456
    """
    if isinstance(value, bool):
        raise BadInput(field, value, _EXPECTED)
    if isinstance(value, int | float):
        if not math.isfinite(value) or value < 1:
            raise BadInput(field, value, _EXPECTED)
        return int(value)
    match = _SIZE.match(value)
    if match is None or match.group(2).lower() not in _FACTORS:
        raise BadInput(field, value, _EXPECTED)
    size = float(match.group(1)) * _FACTORS[match.group(2).lower()]
    if not math.isfinite(size) or size < 1 or size > 2**62:
        raise BadInput(field, value, _EXPECTED)
    return round(size)


def format_size(size: int | float) -> str:
    """A short human size in powers of 1024, three significant digits.

    >>> format_size(268435456)
    '256 MiB'
    """
    sign, value = ("-", -float(size)) if size < 0 else ("", float(size))
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            if unit == "B":
                return f"{sign}{value:.0f} B"
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            text = f"{value:.{digits}f}"
            return f"{sign}{text} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def format_exactly(size: int) -> str:
    """A size that parses back to the same bytes, in the unit that wants the fewest digits; of two, that of 1024.

    >>> format_exactly(268435456), format_exactly(16 * 10**9), format_exactly(1001)
    ('256MiB', '16GB', '1001')
    """
    units = ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB", "")
    whole = [f"{size // _FACTORS[unit.lower()]}{unit}" for unit in units if size % _FACTORS[unit.lower()] == 0]
    return min(whole, key=lambda text: sum(map(str.isdigit, text)))


def format_time(seconds: float | None) -> str:
    """A short duration; absent stays absent."""
    if seconds is None:
        return "not known"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min"


def format_energy(joules: float | None) -> str:
    """A short energy; absent stays absent."""
    if joules is None:
        return "not known"
    if joules < 1:
        return f"{joules * 1e3:.3g} mJ"
    return f"{joules:.3g} J"
