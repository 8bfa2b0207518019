"""Checks a run's parameters before anything takes time."""
