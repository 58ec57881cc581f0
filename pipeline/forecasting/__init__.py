"""From the champion to a checked and published forecast with fallbacks, and its verification."""
