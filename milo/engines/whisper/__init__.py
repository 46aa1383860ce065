"""Engines that hear: Whisper on CTranslate2 and on transformers."""
