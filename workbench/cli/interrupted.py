"""What is said of a command that Ctrl-C ended: what it keeps, and what the same command does."""

from __future__ import annotations

from collections.abc import Sequence

_ANSWERS = "the answer is not finished; the same command asks again"
_GRID = "finished runs are kept and the same command resumes"

_KEPT = {
    "predict": _ANSWERS,
    "plan": _ANSWERS,
    "fit": "what was predicted is kept and the same command predicts the rest",
    "measure": _ANSWERS,
    "run": "what is not finished is not kept beyond its last checkpoint; the same command runs it",
    "ablate": _GRID,
    "equal": _GRID,
    "search": _GRID,
    "report": "the page is not finished; the same command makes it anew with the runs that are",
    "assets pull": "what was not ready is not kept; the same command fetches it",
}


def sentence_of(words: Sequence[str]) -> str:
    """The sentence for a command line."""
    for verb in (" ".join(words[:2]), *words[:1]):
        if verb in _KEPT:
            return f"interrupted; {_KEPT[verb]}"
    return "interrupted before it was done; the same command begins again"
