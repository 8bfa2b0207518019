"""The few lines of SavedModel's format that are read without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from components.shared.model_folder.runtimes.signatures import _DESCRIPTOR

PROTO = """
syntax = "proto3";
package brain_tumor;
message SavedModel { repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef { map<string, bytes> signature_def = 5; }
"""


def test_the_descriptor_is_what_protoc_makes(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    source, written = tmp_path / "brain_tumor_signatures.proto", tmp_path / "set"
    source.write_text(PROTO)

    # In a process of its own: beside TensorFlow's protobuf, protoc ends the one it runs in.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}"]
    subprocess.run([*command, f"--descriptor_set_out={written}", str(source)], check=True)
    (file,) = FileDescriptorSet.FromString(written.read_bytes()).file
    assert file.SerializeToString() == _DESCRIPTOR
