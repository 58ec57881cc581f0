"""What is kept: raw payloads, and Delta tables that are appended to and never overwritten."""
