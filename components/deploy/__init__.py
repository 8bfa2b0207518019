"""The deploy step: a registered version onto a KServe InferenceService, and back where it fails."""
