"""What must not leave this machine in a page, a notebook, a record or a log: paths, names, values of variables.

The first line is that nothing personal is written down in the first place (provenance is an allow-list). This is the
second: texts that others produce, tracebacks above all, pass through here.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.core.paths import checkout

SHORTEST = 8  #: characters; a shorter value of a variable is a word like any other

#: Variables whose values say nothing of a person or a secret.
_HARMLESS = re.compile(
    r"LANG|LANGUAGE|LC_\w+|TERM|COLORTERM|SHELL|SHLVL|TZ|EDITOR|PAGER|DEBIAN_FRONTEND|PYTHON[A-Z]+|\w+_NUM_THREADS|"
    r"PYTEST_\w+|TQDM_\w+|CI|MPLBACKEND|KMP_\w+|PINTPOT_(HEADLESS|OFFLINE|ACCEPT|KERNEL_MEMORY)|CLICOLOR\w*|_"
)
_LISTS = re.compile(r"\w*(PATH|DIRS|FLAGS|OPTS|COLORS)")
#: Names of accounts and machines that are words of this trade; taking them out would spoil texts and hide nobody.
_ORDINARY = frozenset(
    [
        "root",
        "user",
        "users",
        "test",
        "tests",
        "admin",
        "train",
        "runner",
        "worker",
        "build",
        "builder",
        "model",
        "data",
        "default",
        "local",
        "localhost",
        "ubuntu",
        "debian",
        "jovyan",
        "docker",
        "vagrant",
        "guest",
        "host",
        "server",
        "python",
        "notebook",
        "jupyter",
        "device",
        "budget",
        "batch",
        "full",
        "head",
        "bias",
    ]
)
_KERNEL_FILE = re.compile(r"(/[\w.-]+)*/ipykernel_\d+/\d+\.py")
_HOME = re.compile(r"(/home/|/Users/|[A-Za-z]:\\Users\\)[^/\\\s\"'<>:]+")
#: What follows the name of a folder: a neighbour whose name only begins like it is another.
_ENDS = r"(?![\w-]|\.\w)"
#: Shapes of well-known tokens; a tripwire, for whatever got past the rest.
_TOKEN = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|"
    r"xox[abprs]-[A-Za-z0-9-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|glpat-[\w-]{16,})|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def redacted(value: Any) -> Any:
    """The text, or every text inside lists and mappings, with what is personal named by its role.

    >>> redacted("from /home/ada/notes, hf_abcdefghijklmnopqrstuvwx")
    'from ~/notes, <token>'
    """
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list | tuple):
        return [redacted(v) for v in value]
    if isinstance(value, Mapping):
        return {_clean(k) if isinstance(k, str) else k: redacted(v) for k, v in value.items()}
    return value


def _clean(text: str) -> str:
    pattern, roles = _known(tuple(sorted(os.environ.items())), str(Path.home()), sys.prefix)
    text = _KERNEL_FILE.sub("<cell>", text)
    if pattern is not None:
        text = pattern.sub(lambda found: roles[found.group().lower()], text)
    return _TOKEN.sub("<token>", _HOME.sub("~", text))


@lru_cache(maxsize=4)
def _known(
    variables: tuple[tuple[str, str], ...], home: str, prefix: str
) -> tuple[re.Pattern[str] | None, dict[str, str]]:
    """One pattern of every text to take out, the longest first, and what stands in its place."""
    roles: dict[str, str] = {}
    for name, value in variables:
        if len(value) >= SHORTEST and not _HARMLESS.fullmatch(name) and not _LISTS.fullmatch(name):
            roles[value] = f"<{name}>"
    places = {"<python>": (prefix, sys.base_prefix), "<checkout>": (str(checkout() or ""),), "~": (home,)}
    for role, folders in places.items():
        roles |= {folder: role for folder in folders if len(folder) > 4}
    words = {name: role for role, name in (("<user>", _user()), ("<host>", socket.gethostname())) if _telling(name)}
    ends = {text: _ENDS for text in roles if not text.endswith(os.sep) and os.path.isdir(text)}  # noqa: PTH112 (Path.is_dir raises on long values)
    parts = [re.escape(text) + ends.get(text, "") for text in sorted(roles, key=len, reverse=True)]
    parts += [rf"(?<![A-Za-z0-9]){re.escape(w)}(?![A-Za-z0-9])" for w in words]
    both = {text.lower(): role for text, role in {**words, **roles}.items()}
    return (re.compile("|".join(parts), re.IGNORECASE), both) if parts else (None, {})


def _telling(name: str) -> bool:
    return len(name) >= 4 and name.lower() not in _ORDINARY


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return ""
