"""The whole loop on the shipped sample, in virtual time."""
