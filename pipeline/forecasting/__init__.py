"""From the model in service to a checked forecast, with fallbacks."""
