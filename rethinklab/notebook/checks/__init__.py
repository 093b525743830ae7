"""Checks of the exercises, one module for each notebook."""
