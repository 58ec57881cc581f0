"""Scores of matured forecasts: those with an observation of their valid time."""
