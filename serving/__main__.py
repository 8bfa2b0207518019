"""`python -m serving MODEL`: the predictor without the rest of the command line."""

from serving.cli import main

main()
