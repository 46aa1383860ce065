"""The status API: a process of its own, and the pages that it shares with the API."""
