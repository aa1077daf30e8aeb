"""The messages of TensorFlow Serving, SavedModel and the Open Inference Protocol, under our names.

Generated from `proto/sealserve/messages/` (`make proto`): `tensor_pb2`, `graph_pb2`,
`saved_model_pb2`, `predict_pb2`, `inference_pb2`, `metadata_pb2`, `status_pb2`, `config_pb2`,
`prediction_log_pb2`, `open_inference_pb2`. Beside them: `services`, the gRPC methods, and
`tensors`, arrays to messages and back. The bytes are those of TensorFlow 2.21, TensorFlow Serving
2.21 and the Open Inference Protocol; the package is `sealserve.messages`, because a second
definition of `tensorflow.*` cannot live in one process with an installed TensorFlow, and a
message's package is not on the wire.

One exception, for callers to handle: the values of `GetModelMetadataResponse.metadata` are
`google.protobuf.Any`, which does name its type. `Any.Pack` would write our name and `Any.Unpack`
would look for it, so a server sets `type_url=SIGNATURE_DEF_MAP_TYPE_URL` and
`value=signatures.SerializeToString()` itself, and a client compares the `type_url` and parses the
`value` as `metadata_pb2.SignatureDefMap`.

This room opens no file and no socket, and knows nothing of gRPC but the names of its methods.
"""

from __future__ import annotations

SIGNATURE_DEF_MAP_TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
