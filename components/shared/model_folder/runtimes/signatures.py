"""The signatures of a SavedModel, read without TensorFlow."""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from components.shared.errors import UserError
from components.shared.model_folder.contract import SERVING
from components.shared.storage.files import read_regular

_MAX_BYTES = 64 * 2**20  # of the graphs; the weights lie beside them

# What protoc makes of the following; protobuf's own module for that takes 10 MB of each replica.
# The numbers are those of TensorFlow's `saved_model.proto` and `meta_graph.proto`.
#
#     syntax = "proto3";
#     package brain_tumor;
#     message SavedModel { repeated MetaGraphDef meta_graphs = 2; }
#     message MetaGraphDef { map<string, bytes> signature_def = 5; }
_DESCRIPTOR = (
    b"\n\x1cbrain_tumor_signatures.proto\x12\x0bbrain_tumor"
    b'"H\n\nSavedModel\x12:\n\x0bmeta_graphs\x18\x02 \x03(\x0b2\x19.brain_tumor.MetaGraphDef'
    b'R\nmetaGraphs"\xa1\x01\n\x0cMetaGraphDef\x12P\n\rsignature_def\x18\x05 \x03(\x0b'
    b"2+.brain_tumor.MetaGraphDef.SignatureDefEntryR\x0csignatureDef"
    b"\x1a?\n\x11SignatureDefEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key"
    b"\x12\x14\n\x05value\x18\x02 \x01(\x0cR\x05value:\x028\x01b\x06proto3"
)


def with_default_signature(file: str | Path, name: str) -> bytes:
    """Makes a signature of a SavedModel its default one.

    Args:
        file: Its `saved_model.pb`.
        name: Of the signature.

    Returns:
        The content of the changed `saved_model.pb`.

    Raises:
        UserError: It cannot be read, is too large, or lacks the signature.
    """
    try:
        content = read_regular(Path(file), _MAX_BYTES)
        saved = _saved_model().FromString(content)
    except (OSError, DecodeError) as error:
        raise UserError(f"{file}: cannot load the SavedModel: {error}") from error
    if len(saved.meta_graphs) != 1 or name not in saved.meta_graphs[0].signature_def:
        raise UserError(f"{file}: has no signature {name}; register the model again")
    if name == SERVING:
        return content
    signatures = saved.meta_graphs[0].signature_def
    signatures[SERVING] = signatures[name]
    try:
        return bytes(saved.SerializeToString())
    except EncodeError as error:
        raise UserError(f"{file}: cannot load the SavedModel: {error}") from error


@cache
def _saved_model() -> Any:
    """Returns the message SavedModel with those fields alone that are needed here.

    Fields that a message does not know it keeps as they are.
    """
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_DESCRIPTOR)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("brain_tumor.SavedModel"))
