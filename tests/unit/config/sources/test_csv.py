import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.sources.files import Csv


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "UTF-16", "utf_8_sig"])
def test_text_encodings(encoding: str) -> None:
    assert Csv(encoding=encoding).encoding == encoding


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "hex", "rot13", ""])
def test_invalid_encodings(encoding: str) -> None:
    with pytest.raises(ValidationError, match=f"'{encoding}' is not a known text encoding; use e.g"):
        Csv(encoding=encoding)


@pytest.mark.parametrize(
    "fields", [{"delimiter": "\n"}, {"delimiter": "§"}, {"quote": "”"}, {"comment": "\r#"}, {"comment": "\0"}]
)
def test_unsupported_characters(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is not supported; use an ASCII character"):
        Csv.model_validate_json(json.dumps(fields))
