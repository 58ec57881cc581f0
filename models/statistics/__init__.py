"""The space that models work in, and what a record tells of it: climate, anomalies, moments, past errors."""
