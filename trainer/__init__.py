"""Training: data, loops, evaluation, deploy; the synthetic corpus and the embedded models."""
