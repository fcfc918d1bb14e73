"""Experiments and small programs: `python -m experiments` lists them."""
