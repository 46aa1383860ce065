"""What lies on disk or in S3: blobs, results, work folders, allowed roots, secrets."""
