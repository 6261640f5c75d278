"""Looks into a step that is not run: what it visits, how updates are ordered, what large models would need."""
