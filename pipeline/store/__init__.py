"""Stores: raw payloads, receipts, and Delta tables of observations and forecasts."""
