"""The training loop that all models share: steps, checkpoints, guards, parking."""
