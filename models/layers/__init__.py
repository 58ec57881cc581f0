"""Layers of networks, each from its published equations and free of batch, grid and station count."""
