"""Cutting a network: which channels go together, whether they can go, and their removal."""
