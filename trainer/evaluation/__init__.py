"""How good a model is: decoding a test set, scoring it, the report."""
