"""The captured training step: one graph of forward, backward and updates, pruned, scheduled and executed."""
