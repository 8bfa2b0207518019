"""The registry of models: numbered versions, aliases, history."""

from components.shared.registry.registry import Registry

__all__ = ["Registry"]
