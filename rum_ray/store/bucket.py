"""The files of a store in an S3 bucket, by boto3.

pyarrow has an S3 client, too, but none that writes on a condition. With "If-None-Match: *", S3
itself refuses to replace an object, so two writers at once need no lock. boto3 takes credentials
from the same places as pyarrow: environment, ~/.aws, and the role of the machine.
"""

import contextlib
import functools
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rum_ray.errors import StoreError

CONFLICTS = 10
"""Number of attempts to create an object while other requests on the same object are running."""
BATCH = 1000
"""Most objects per request that removes objects."""


class Bucket:
    """A prefix of an S3 bucket; a file is an object.

    The URI is that of pyarrow: `s3://[key:secret@]bucket/prefix`, with `region`, `scheme` and
    `endpoint_override` as optional parameters.
    """

    def __init__(self, uri: str) -> None:
        """Open the bucket; nothing is sent.

        Raises:
            StoreError: boto3 is not installed.
            ValueError: the URI has no bucket.
        """
        parts = urlsplit(uri)
        bucket = parts.netloc.rpartition("@")[2]
        if not bucket:
            raise ValueError("it names no bucket. Use s3://BUCKET/PREFIX.")
        self.bucket, self.prefix = bucket, parts.path.strip("/")
        self.base = f"{bucket}/{self.prefix}".rstrip("/")
        self._client = _client(uri)

    def _name(self, path: str) -> str:
        """Return the name of the object of a path."""
        return f"{self.prefix}/{path}".lstrip("/")

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes | None:
        """Return an object or a part of it in one request; None if there is none."""
        part = {}
        if start or end is not None:
            part["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with _errors():
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=self._name(path), **part)
                content: bytes = found["Body"].read()
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404:
                    return None
                if _status(error) == 416:  # The object ends before `start`.
                    return b""
                raise
        return content

    def create(self, path: str, content: bytes) -> bool:
        """Write a new object; return False if it exists."""
        for attempt in range(CONFLICTS):
            try:
                with _errors():
                    self._put(path, content, IfNoneMatch="*")
                return True
            except OSError as error:
                status = _status(error.__cause__)
                if status == 412:
                    return False
                # 409: another request on this object is running, and its outcome is open.
                if status != 409 or attempt == CONFLICTS - 1:
                    raise
                time.sleep(0.1 * (attempt + 1))
        raise AssertionError("unreachable")

    def replace(self, path: str, content: bytes) -> None:
        """Write an object or replace it."""
        with _errors():
            self._put(path, content)

    def _put(self, path: str, content: bytes, **condition: str) -> None:
        """Write an object in one request."""
        self._client.put_object(Bucket=self.bucket, Key=self._name(path), Body=content, **condition)

    def exists(self, path: str) -> bool:
        """Return True if the object exists."""
        with _errors():
            try:
                self._client.head_object(Bucket=self.bucket, Key=self._name(path))
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404:
                    return False
                raise
        return True

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int]:
        """Return the bytes of the objects of a folder by name, in pages of 1,000."""
        start, found = self._name(f"{folder}/"), {}
        pages = self._client.get_paginator("list_objects_v2")
        with _errors():
            for page in pages.paginate(Bucket=self.bucket, Prefix=start + prefix, Delimiter="/"):
                for entry in page.get("Contents", ()):
                    found[entry["Key"].removeprefix(start)] = entry["Size"]
        return found

    def remove(self, paths: Sequence[str]) -> None:
        """Remove objects, up to 1,000 per request."""
        for first in range(0, len(paths), BATCH):
            batch = [{"Key": self._name(path)} for path in paths[first : first + BATCH]]
            with _errors():
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True}
                )
            for refused in answer.get("Errors", ()):
                raise OSError(f"{refused['Key']} cannot be removed: {refused.get('Message')}")

    def move(self, path: str, target: str) -> None:
        """Move an object; a reader in between finds both."""
        source = {"Bucket": self.bucket, "Key": self._name(path)}
        with _errors():
            try:
                self._client.copy_object(
                    Bucket=self.bucket, Key=self._name(target), CopySource=source
                )
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404:
                    return
                raise
        self.remove([path])


def without_keys(uri: str) -> str:
    """Return a URI for messages, without the keys that it may have."""
    return re.sub("://[^/]*@", "://", uri, count=1)


@functools.lru_cache(maxsize=8)
def _client(uri: str) -> Any:
    """Return the client of a URI; making one takes longer than a request."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StoreError(
            f"store '{without_keys(uri).partition('?')[0]}' needs the package boto3, which writes "
            "without overwriting. Install it with pip install 'rum-ray[s3]', on every machine."
        ) from error
    parts = urlsplit(uri)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    endpoint = options.get("endpoint_override")
    if endpoint and "://" not in endpoint:
        endpoint = f"{options.get('scheme', 'https')}://{endpoint}"
    elsewhere = endpoint or {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} & os.environ.keys()
    return boto3.session.Session().client(
        "s3",
        region_name=options.get("region"),
        endpoint_url=endpoint,
        aws_access_key_id=unquote(parts.username) if parts.username else None,
        aws_secret_access_key=unquote(parts.password) if parts.password else None,
        config=Config(
            retries={"mode": "standard", "max_attempts": 5},
            max_pool_connections=32,
            # Servers other than Amazon's seldom have a host name per bucket.
            s3={"addressing_style": "path" if elsewhere else "auto"},
        ),
    )


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn the errors of boto3 into OSError, as other file systems raise."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error of the client; None for other errors."""
    response: Any = getattr(error, "response", None) or {}
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
