"""Texts in another language by a `Translator` that is given: glossary, sentences, cache."""
