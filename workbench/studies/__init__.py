"""Questions that take many runs: equal cost, searches over settings and over update schemes."""
