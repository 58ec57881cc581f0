"""Rolling-origin backtests: what the live system would have forecast, trained at each origin, and how good it was."""
