"""Statistical models, fitted in one pass. Each may become champion."""
