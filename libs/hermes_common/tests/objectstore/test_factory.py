"""Settings choose the store, and wrong ones are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_common.runtime.objectstore import open_store
from hermes_common.runtime.objectstore.directory import DirectoryStore
from hermes_common.runtime.objectstore.s3 import S3Store

S3 = {"s3_endpoint": "127.0.0.1:9000", "s3_access_key": "a", "s3_secret_key": "hush", "s3_bucket": "hermes"}


def test_s3_is_opened_without_contacting_it() -> None:
    store = open_store("s3", **S3)
    assert isinstance(store, S3Store)
    store.close()


def test_a_file_address_opens_a_directory_without_making_it(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/some%20where")
    assert isinstance(store, DirectoryStore)
    assert list(tmp_path.iterdir()) == []
    store.put_bytes("a/b", b"x")
    assert (tmp_path / "some where/a/b").read_bytes() == b"x"
    store.close()


@pytest.mark.parametrize(
    "address",
    ["", "S3", "s3://bucket", "/path", "file:", "file:///", "file://host/path", "file:///a?b", "file:///a/../b"],
)
def test_an_address_that_names_no_store_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="object store"):
        open_store(address, **S3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"s3_endpoint": ""},
        {"s3_endpoint": "http://127.0.0.1:9000"},
        {"s3_endpoint": "host/path"},
        {"s3_bucket": ""},
        {"s3_bucket": "Upper_Case"},
        {"s3_access_key": ""},
        {"s3_secret_key": ""},
    ],
)
def test_wrong_s3_settings_are_refused_in_words(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="S3") as caught:
        open_store("s3", **(S3 | wrong))
    assert "hush" not in str(caught.value)
