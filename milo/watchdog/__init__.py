"""What can go wrong around a training: `rules` is the table, `patrol` looks and acts, `record` remembers."""
