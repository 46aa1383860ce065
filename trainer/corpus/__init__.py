"""The synthetic corpus: phrasebook, lexicons, voices, effects."""
