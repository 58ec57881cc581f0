import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.sources.files import Csv


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "UTF-16", "utf_8_sig"])
def test_an_encoding_of_text_is_taken(encoding: str) -> None:
    assert Csv(encoding=encoding).encoding == encoding


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "hex", "rot13", ""])
def test_what_is_no_encoding_of_text_is_refused(encoding: str) -> None:
    with pytest.raises(ValidationError, match=f"'{encoding}' is no encoding of text; use e.g"):
        Csv(encoding=encoding)


@pytest.mark.parametrize(
    "fields", [{"delimiter": "\n"}, {"delimiter": "§"}, {"quote": "”"}, {"comment": "\r#"}, {"comment": "\0"}]
)
def test_marks_that_cannot_be_read_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="cannot be read; use a plain character"):
        Csv.model_validate_json(json.dumps(fields))
