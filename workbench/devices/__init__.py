"""Devices as data: memory, speed, power and link, each number with its kind and source; time and energy of a step.

Reading the library needs no torch; counting, calibrating and timing import it when called.
"""

from workbench.devices.model import Device, Link, MemoryTier, devices, get, valued
from workbench.devices.own import load

__all__ = ["Device", "Link", "MemoryTier", "devices", "get", "load", "valued"]
