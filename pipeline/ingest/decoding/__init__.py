"""Payload bytes to rows: tables of every dialect and layout, gridded files, time stamps."""
