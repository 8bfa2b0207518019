"""What several steps share, by noun; nothing here imports a step."""
