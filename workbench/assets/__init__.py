"""Models and data sets from outside: pinned, verified, cached per user. Listing them needs no torch."""

from workbench.assets.catalogue import Asset, AssetFile, catalogue, find, status
from workbench.assets.pull import locate, pull, verify

__all__ = ["Asset", "AssetFile", "catalogue", "find", "locate", "pull", "status", "verify"]
