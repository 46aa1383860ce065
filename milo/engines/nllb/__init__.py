"""Engines that translate: NLLB on CTranslate2 and on transformers."""
