"""What a configuration lacks, read off the error that it ends in somewhere inside transformers."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from typing import Any

LONGEST = 200  #: characters of an error's own words


def shortfall(error: Exception, config: Mapping[str, Any]) -> str:
    """What ``config`` would have to be so that a model can be built from it, the field by name where one is to blame.

    A field that transformers leaves at None shows in the line of code that fails; one that does not go with others
    shows in the sizes that do not match, which the error tells.
    """
    words = f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}"
    fields = _fields(config)
    unsaid = [name for name in _named_where_it_fails(error) if name not in config and fields.get(name, 0) is None]
    if unsaid and "NoneType" in words:
        return f"a configuration that says {' and '.join(unsaid)}, which {config['model_type']} has no default for"
    told = _root(error)
    sizes = [int(number) for number in re.findall(r"\d+", str(told))]
    chosen = [(n, v) for n, v in fields.items() if type(v) is int and v > LARGE and v in sizes]
    if told is not error and chosen:
        name, value = chosen[0]
        given = "is" if name in config else "is unsaid, which makes it"
        return f"sizes that go together; {name} {given} {value}, and then {' '.join(str(told).split())[:LONGEST]}"
    return f"a configuration transformers can build ({words})"


LARGE = 4  #: smaller numbers stand in many places


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the whole configuration, with transformers' defaults; empty where not even that can be made."""
    from workbench.models.build import configuration_of

    try:
        return dict(vars(configuration_of("", config)[0]))
    except Exception:  # the configuration itself refuses, and its own words are what there is to say
        return {}


def _named_where_it_fails(error: Exception) -> list[str]:
    """Names in the line of code that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return []
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return list(dict.fromkeys(re.findall(r"[A-Za-z_]\w*", line)))


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
