"""Callbacks: signing them and delivering them, with what stands in the outbox."""
