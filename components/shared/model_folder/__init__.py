"""A registered model's folder: what it holds, and how it is described, checked and read.

The register step is the only writer. Whoever reads a version imports this package, and no step.
"""
