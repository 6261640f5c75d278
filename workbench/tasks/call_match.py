"""Does a written function call equal the wanted one? The leaderboard's rule, for simple calls.

Wanted arguments are lists of accepted values; an empty string among them means that the argument may be left out.
Strings are compared without case, spaces and the punctuation ``, . / - _ * ^``, as the leaderboard does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True)
class Verdict:
    """What is right about one answer; each one implies those before it."""

    valid_json: bool
    name: bool
    exact: bool


def judge(answer: str, name: str, wanted: Mapping[str, Sequence[Any]]) -> Verdict:
    """Compare the text of an answer with the wanted call. Never raises on what a model wrote."""
    try:
        call = json.loads(answer.strip())
    except (ValueError, RecursionError):
        return Verdict(False, False, False)
    if (
        not isinstance(call, dict)
        or not isinstance(call.get("name"), str)
        or not isinstance(call.get("arguments"), dict)
    ):
        return Verdict(False, False, False)
    named = call["name"] == name
    return Verdict(True, named, named and arguments_match(call["arguments"], wanted))


def arguments_match(given: Mapping[str, Any], wanted: Mapping[str, Sequence[Any]]) -> bool:
    """Every given argument is wanted and accepted, and nothing that is needed is left out."""
    if any(name not in wanted for name in given):
        return False
    return all(
        any(_same(given[name], value) for value in accepted) if name in given else "" in accepted
        for name, accepted in wanted.items()
    )


def _same(given: Any, accepted: Any) -> bool:
    if isinstance(accepted, bool) or isinstance(given, bool):
        return given is accepted
    if isinstance(accepted, str):
        return isinstance(given, str) and _plain(given) == _plain(accepted)
    if isinstance(accepted, list):
        return isinstance(given, list) and len(given) == len(accepted) and all(map(_same, given, accepted))
    if isinstance(accepted, dict):
        # Inside an object each value is again a list of accepted ones.
        return isinstance(given, dict) and arguments_match(given, {k: _choices(v) for k, v in accepted.items()})
    return type(given) in (int, float, type(None)) and given == accepted


def _plain(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _choices(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def first_answer(name: str, wanted: Mapping[str, Sequence[Any]]) -> str:
    """The shortest accepted call as compact JSON: first accepted values, what may be left out is left out."""
    return json.dumps({"name": name, "arguments": _first(wanted)}, ensure_ascii=False)


def _first(wanted: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {key: _value(_choices(values)[0]) for key, values in wanted.items() if "" not in _choices(values)}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _first(value)
    return [_value(item) for item in value] if isinstance(value, list) else value
