"""The registry of models: numbered versions, aliases, history."""

from components.registry.registry import Registry

__all__ = ["Registry"]
