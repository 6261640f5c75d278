"""Kernels and ways of running that make parts faster; each gives the numbers of the plain code it replaces."""
