"""The network models."""
