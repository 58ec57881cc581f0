"""Decoding of payloads into rows: tables of every dialect and layout, gridded files, time stamps."""
