"""Adapters as folders: written after a training, and read, from whomever they come, as data that proves itself."""

from workbench.adapters.folder import Adapter, read, save

__all__ = ["Adapter", "read", "save"]
