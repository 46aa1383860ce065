"""Files that are wrong on purpose, thrown at the decoder; `python -m tests.fuzz --minutes 10` is the long form."""
