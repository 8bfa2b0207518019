"""What a run is told, and what every step does around its work."""
