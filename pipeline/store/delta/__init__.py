"""Delta tables with checksummed files, a manifest of commits, maintenance and repair."""
