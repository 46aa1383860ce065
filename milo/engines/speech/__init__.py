"""Engines that speak: eSpeak NG and VITS."""
