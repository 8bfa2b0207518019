"""Many trainings of the default network at once, on a GPU, each by a recipe of its own.

A port of the training to JAX: networks of one shape are one program with an axis of models. It is
a benchmark and nothing that the product runs; what wins here is written into `components/` and
measured there again. `train` needs no TensorFlow, so it runs on a machine that has JAX alone.
"""
