"""Registers a model that passes the gate: exported, described, digested, under a new version."""
