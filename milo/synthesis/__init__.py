"""Text to audio by a `Synthesizer` that is given: sentences, voices, speed, formats."""
