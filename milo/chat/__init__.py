"""Replies and the sessions they belong to. Knows no engine: it is given a `ChatModel`."""
