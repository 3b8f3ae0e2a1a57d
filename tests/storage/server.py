"""An S3-compatible server on a free port of this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer

from raytune_rec.storage.objects import store

BUCKET = "bucket"


@contextmanager
def serving(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, which the environment names while the block runs; there is one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    settings = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}
    for name, value in {**settings, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        patch.setenv(name, value)
    store.cache_clear()
    try:
        s3 = store("s3")
        s3.clear_instance_cache()
        store.cache_clear()
        store("s3").mkdir(BUCKET)
        yield address
    finally:
        server.stop()
        store.cache_clear()
