"""From the model in service to a checked forecast, by way of the fallback ladder."""
