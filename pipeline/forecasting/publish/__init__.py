"""Formats in which a forecast is published, and the pointer to the latest one."""
