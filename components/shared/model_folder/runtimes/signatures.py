"""The signatures of a SavedModel, read without TensorFlow."""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from components.shared.errors import UserError
from components.shared.model_folder.contract import SERVING
from components.shared.storage.files import read_regular

_MAX_BYTES = 64 * 2**20  # of the graphs; the weights lie beside them


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

    Fields that a message does not know it keeps as they are. The numbers are those of TensorFlow's
    `saved_model.proto` and `meta_graph.proto`.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="brain_tumor_signatures.proto", package="brain_tumor", syntax="proto3"
    )
    saved = file.message_type.add(name="SavedModel")
    saved.field.add(
        name="meta_graphs",
        number=2,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".brain_tumor.MetaGraphDef",
    )
    graph = file.message_type.add(name="MetaGraphDef")
    graph.field.add(
        name="signature_def",
        number=5,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name=".brain_tumor.MetaGraphDef.SignatureDefEntry",
    )
    entry = graph.nested_type.add(name="SignatureDefEntry")
    entry.options.map_entry = True
    for number, (name, kind) in enumerate(
        (("key", field.TYPE_STRING), ("value", field.TYPE_BYTES))
    ):
        entry.field.add(name=name, number=number + 1, label=field.LABEL_OPTIONAL, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("brain_tumor.SavedModel"))
