"""Lean autograd functions, packing and layers that several parts share."""
