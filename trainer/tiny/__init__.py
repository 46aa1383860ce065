"""The embedded models, made from nothing but a seed."""
