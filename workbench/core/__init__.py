"""Values and names that every layer shares. Nothing here imports torch."""
