"""Training Whisper."""
