"""What the API says: job documents, renderings of results, event streams, the `202` of an accepted job."""
