"""An S3 server in a process of its own, and a study whose report does not depend on the store."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from miniature import DEMO, SETTINGS

import rum_ray as rr
from rum_ray import config

CODE = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Server:
    """A running S3 server.

    Attributes:
        port: on this machine.
        log: file of its requests, one line each.
    """

    port: int
    log: Path

    @property
    def client(self) -> Any:
        """A client of the server."""
        return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}")

    def bucket(self) -> str:
        """Return the URI of a new store."""
        name = f"b{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        # Quoted: pyarrow reads this URI, too, for the records of Ray.
        endpoint = f"127.0.0.1%3A{self.port}"
        return f"s3://{name}/a/store?scheme=http&endpoint_override={endpoint}&region=us-east-1"

    def requests(self) -> list[str]:
        """Return method, path and status of all requests so far."""
        lines = self.log.read_text("utf-8").splitlines()
        return [line.partition('"')[2].replace(' HTTP/1.1"', "") for line in lines if '"' in line]


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server with its log in this folder, and set the credentials of this process.

    The server lists 10 objects per page, as another one lists 1,000.
    """
    log = folder / "s3.log"
    with pytest.MonkeyPatch.context() as patch, log.open("w") as file:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        process = subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "MOTO_S3_DEFAULT_MAX_KEYS": "10"},
        )
        with process:
            try:
                yield Server(int(process.stdout.readline()), log)
            finally:
                process.stdin.close()


def report_of(store: str | Path, executor: Any = None) -> Mapping[str, Any]:
    """Run the miniature of the demo with this store; return its report without times and places."""
    experiment = config.load(DEMO, (*SETTINGS, "score.confidences=true"))
    report = rr.run(experiment, store=store, executor=executor)
    return without_times(report.summary.to_json())


def without_times(value: Any) -> Any:
    """Return a tree of a report without times and machine."""
    if isinstance(value, dict):
        idle = ("environment", "stages", "seconds")
        return {key: without_times(item) for key, item in value.items() if key not in idle}
    return [without_times(item) for item in value] if isinstance(value, list) else value
