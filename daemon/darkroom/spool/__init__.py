"""What a request is, on disk, and who is next."""
