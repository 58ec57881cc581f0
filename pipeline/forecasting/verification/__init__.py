"""What matured forecasts were worth."""
