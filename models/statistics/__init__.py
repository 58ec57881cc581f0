"""Statistics of a record: climate, anomalies, moments, and quantiles of past errors."""
