"""Imported once, in the server that children are forked from, so that a child begins at once."""

from faults.training import warm

warm()
