"""What a run costs with many images on many nodes: measured units, and a simulation."""
