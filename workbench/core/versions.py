"""Versions of installed packages, read from files once a process: a content key asks for them thousands of times."""

from __future__ import annotations

import functools
from importlib.metadata import version

installed_version = functools.cache(version)
