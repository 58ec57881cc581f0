"""From a source to the observations: fetching, decoding, checking, quarantine and release."""
