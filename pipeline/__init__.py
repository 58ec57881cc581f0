"""Nightcast without an orchestrator: from a feed to published, verified forecasts."""
