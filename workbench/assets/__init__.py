"""Models and data sets from outside: pinned, verified, cached per user. Listing them needs no torch."""

from workbench.assets.cache import locate, pull, verify
from workbench.assets.catalogue import Asset, AssetFile, catalogue, find, status

__all__ = ["Asset", "AssetFile", "catalogue", "find", "locate", "pull", "status", "verify"]
