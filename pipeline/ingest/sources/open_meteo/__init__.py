"""The `open-meteo` source: forecasts and archives of Open-Meteo."""
