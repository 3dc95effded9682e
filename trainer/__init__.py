"""How a model learns from a version: one file an objective, in a process of its own, measured before and after."""
