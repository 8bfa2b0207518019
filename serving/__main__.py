"""`python -m serving MODEL`: the predictor without the rest of the command line."""

from components.shared.command_line.start import start

start("serving.cli")
