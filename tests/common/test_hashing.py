"""One digest for bytes, texts and files."""

from __future__ import annotations

import hashlib

from waterflow_cli.common.hashing import file_sha256, sha256_of


def test_bytes_texts_and_files_have_one_digest(tmp_path):
    content = "pH été\n" * 200_000  # more than a block
    (tmp_path / "a.csv").write_bytes(content.encode())
    expected = hashlib.sha256(content.encode()).hexdigest()
    assert sha256_of(content) == sha256_of(content.encode()) == expected
    assert file_sha256(tmp_path / "a.csv") == file_sha256(str(tmp_path / "a.csv")) == expected
