"""How a cell awaits what a panel does: the kernel stays free to hear the panel's buttons meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

PERIOD = 0.2  #: seconds between two looks, and between two updates of the front end


async def until(over: threading.Event, cancel: Callable[[], None]) -> None:
    """Return once ``over`` is set. An interrupt calls ``cancel`` and goes on to the cell."""
    try:
        while not over.is_set():
            await asyncio.sleep(PERIOD)
    except asyncio.CancelledError:  # how a kernel passes an interrupt on
        cancel()
        raise
