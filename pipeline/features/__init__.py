"""From observations to what a model sees: the as-of join, frames, windows."""
