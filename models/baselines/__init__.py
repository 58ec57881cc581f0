"""Models that are fitted in one pass, without a network; each may become champion."""
