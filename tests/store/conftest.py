"""Shared by the tests of the store: a real S3 server."""

from collections.abc import Iterator

import pytest
from s3_server import Server, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server
