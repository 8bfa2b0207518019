"""Split: which images train, which validate, which are held out. Moves no pixels."""
