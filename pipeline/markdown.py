"""Text from outside as plain text in Markdown."""

from __future__ import annotations

import unicodedata


def inert(text: str) -> str:
    """Return text that is shown as it is in Markdown and HTML, on one line, without control or direction characters."""
    kept = (" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return "".join(char if char.isalnum() or char in " ,.-" else f"&#{ord(char)};" for char in kept)
