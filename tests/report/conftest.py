"""Makes the synthetic runs and notebooks importable from tests."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "figures")]
