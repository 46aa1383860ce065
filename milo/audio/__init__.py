"""Recordings as samples: reading and writing formats, resampling, voice activity; decoding apart, in a child."""
