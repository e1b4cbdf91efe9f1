"""`neuroone doctor`: find what commonly goes wrong and say what to do about it."""
