"""Split: which images train, which validate, which are held out, once or fold by fold."""
