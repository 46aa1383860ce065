"""Engines that chat: llama.cpp on GGUF files, and Claude."""
