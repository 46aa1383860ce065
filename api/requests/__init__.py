"""What a request may ask, checked against what this server has, and made into a job."""
