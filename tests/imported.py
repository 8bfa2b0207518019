"""Imports what the processes of `tests.forked` need."""

import gc
import os

os.environ["GRPC_VERBOSITY"] = "NONE"  # gRPC reads it once; see serving.cli

from google.cloud import storage  # noqa: F401
from minio import Minio  # noqa: F401
from openvino.frontend import tensorflow  # noqa: F401

import serving.server  # noqa: F401
import tests.shared.registry.writer  # noqa: F401

gc.freeze()  # else each process copies what it looks at to collect garbage
