"""The HTTP front. Validates, writes rows, waits and renders; holds no model and does no work of its own."""
