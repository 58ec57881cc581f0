"""The networks by name: each a few lines on the shared parts."""
