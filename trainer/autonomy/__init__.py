"""Systems that watch the checkpoints of a training and say what they found: one file a system, and their registry."""
