"""Data contracts: variables, what observations must satisfy, what a forecast must satisfy."""
