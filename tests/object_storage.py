"""An S3 server of the tests' own (moto), on loopback, with a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

BUCKET = "shop"


@contextmanager
def s3_server() -> Iterator[Any]:
    """The fsspec file system of a server that lives as long as the block; the environment leads every client there.

    The test is skipped where moto or s3fs is not installed.
    """
    for module in ("moto", "flask", "flask_cors", "s3fs"):
        pytest.importorskip(module, reason=f"{module} is not installed, which the tests of object storage need")
    import fsspec
    import s3fs.core
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        _, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # a test of a server that is gone does not wait for it
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setattr(s3fs.core.S3FileSystem, "retries", 1)
        s3fs.core.S3FileSystem.clear_instance_cache()
        try:
            system = fsspec.filesystem("s3")
            # what an earlier server of this process held is there still
            with suppress(FileExistsError):
                system.mkdir(BUCKET)
            yield system
        finally:
            s3fs.core.S3FileSystem.clear_instance_cache()
            server.stop()


def put(system: Any, folder: Path, prefix: str) -> None:
    """Put all files of a folder below a prefix of the bucket."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        system.pipe_file(f"{BUCKET}/{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    system.invalidate_cache()
