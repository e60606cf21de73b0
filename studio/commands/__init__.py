"""One module for each command of `python -m studio`: its options, and what it does."""
