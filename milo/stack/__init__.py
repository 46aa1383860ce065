"""The processes of one machine: which there are, starting, watching and ending them."""
