"""Training NLLB."""
