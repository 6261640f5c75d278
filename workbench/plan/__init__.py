"""Will it fit, and what must change: verdicts, sizes, ways out and the planner."""
