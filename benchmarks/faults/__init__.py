"""Fault experiments, one a file: what is broken on purpose, what must hold, and a control that must not hold."""
