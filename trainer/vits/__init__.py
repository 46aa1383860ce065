"""Training VITS voices."""
