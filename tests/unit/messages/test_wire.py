"""The bytes and the text of the messages are those of TensorFlow Serving."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import any_pb2, json_format, text_format

from sealserve.messages import (
    SIGNATURE_DEF_MAP_TYPE_URL,
    config_pb2,
    graph_pb2,
    metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    saved_model_pb2,
    services,
    status_pb2,
)
from sealserve.messages.tensors import to_proto


def test_a_predict_request_has_the_bytes_of_the_stock_client() -> None:
    request = predict_pb2.PredictRequest(output_filter=["y"])
    request.model_spec.name = "m"
    request.model_spec.version.value = 7
    request.model_spec.signature_name = "serving_default"
    request.inputs["x"].CopyFrom(to_proto(np.array([[1.0, 2.0]], np.float32)))
    expected = (
        # model_spec: name, version (a wrapper), signature_name
        "0a18" "0a016d" "12020807" "1a0f73657276696e675f64656661756c74"
        # inputs: one entry, key "x", value: DT_FLOAT, shape [1, 2], tensor_content
        "121b" "0a0178" "1216" "0801" "1208" "12020801" "12020802" "22080000803f00000040"
        # output_filter
        "1a0179"
    )  # fmt: skip
    assert request.SerializeToString(deterministic=True).hex() == expected
    assert predict_pb2.PredictRequest.FromString(bytes.fromhex(expected)) == request


def test_an_answer_reads_as_the_stock_clients_print_it() -> None:
    response = predict_pb2.PredictResponse()
    response.outputs["predict"].CopyFrom(to_proto(np.zeros((1, 1), np.float32)))
    shown = json_format.MessageToDict(response)
    assert str(shown).startswith("{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':")


def test_a_version_and_a_label_exclude_each_other() -> None:
    spec = predict_pb2.ModelSpec(version_label="canary")
    spec.version.value = 1
    assert spec.WhichOneof("version_choice") == "version"
    assert spec.version_label == ""


def test_fields_that_the_messages_leave_out_survive() -> None:
    object_graph = bytes.fromhex("3a040a020801")  # MetaGraphDef 7
    debug_info = bytes.fromhex("2a030a0161")  # GraphDef 5
    for kind, data in (
        (saved_model_pb2.MetaGraphDef, object_graph),
        (graph_pb2.GraphDef, debug_info),
    ):
        assert kind.FromString(data).SerializeToString() == data


def test_a_model_status_reads_as_the_stock_rest_interface_writes_it() -> None:
    response = status_pb2.GetModelStatusResponse()
    response.model_version_status.add(version=1, state="AVAILABLE").status.SetInParent()
    assert json_format.MessageToDict(response, always_print_fields_with_no_presence=True) == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def test_a_signature_map_travels_under_the_name_that_stock_clients_look_for() -> None:
    signatures = metadata_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].method_name = "tensorflow/serving/predict"
    response = metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].CopyFrom(
        any_pb2.Any(type_url=SIGNATURE_DEF_MAP_TYPE_URL, value=signatures.SerializeToString())
    )
    back = metadata_pb2.GetModelMetadataResponse.FromString(response.SerializeToString())
    assert back.metadata["signature_def"].TypeName() == "tensorflow.serving.SignatureDefMap"
    value = back.metadata["signature_def"].value
    assert metadata_pb2.SignatureDefMap.FromString(value) == signatures


def test_a_warm_up_record_holds_a_predict_request() -> None:
    record = prediction_log_pb2.PredictionLog()
    record.predict_log.request.model_spec.name = "m"
    assert record.SerializeToString().hex() == "32070a050a030a016d"
    assert record.WhichOneof("log_type") == "predict_log"


def test_an_ssl_config_file_parses() -> None:
    config = text_format.Parse(
        r"""
        server_key: "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
        server_cert: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
        custom_ca: ""
        client_verify: false
        """,
        config_pb2.SSLConfig(),
    )
    assert config.server_key.splitlines()[1] == "AA=="
    assert config.server_cert.endswith("-----END CERTIFICATE-----\n")
    assert (config.custom_ca, config.client_verify) == ("", False)


def test_a_model_config_file_parses() -> None:
    config = text_format.Parse(
        """
        model_config_list {
          config {
            name: 'resnet'  # a comment
            base_path: '/models/resnet'
            model_platform: "tensorflow"
            model_version_policy { specific { versions: 42 versions: 43 } }
            version_labels { key: 'stable' value: 42 }
            version_labels { key: 'canary' value: 43 }
            logging_config { log_collector_config { type: "none" } }
          },
          config: {
            name: "digits", base_path: "/models/digits"
            model_version_policy: { latest: { num_versions: 2 } }
          }
          config { name: "every" model_version_policy { all {} } }
        }
        """,
        config_pb2.ModelServerConfig(),
    )
    resnet, digits, every = config.model_config_list.config
    assert (resnet.name, resnet.base_path) == ("resnet", "/models/resnet")
    assert list(resnet.model_version_policy.specific.versions) == [42, 43]
    assert dict(resnet.version_labels) == {"stable": 42, "canary": 43}
    assert digits.model_version_policy.latest.num_versions == 2
    assert every.model_version_policy.WhichOneof("policy_choice") == "all"


def test_a_batching_parameters_file_parses() -> None:
    config = text_format.Parse(
        """
        max_batch_size { value: 32 }
        batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 100 }
        num_batch_threads { value: 4 }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
        pad_variable_length_inputs: true
        """,
        config_pb2.BatchingParameters(),
    )
    assert config.max_batch_size.value == 32
    assert config.HasField("batch_timeout_micros")  # a given zero is not an absent value
    assert not config.HasField("thread_pool_name")
    assert list(config.allowed_batch_sizes) == [8, 32]


def test_a_monitoring_config_file_parses() -> None:
    config = text_format.Parse(
        'prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }',
        config_pb2.MonitoringConfig(),
    )
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_a_misspelt_field_of_a_configuration_file_is_an_error() -> None:
    with pytest.raises(text_format.ParseError, match="client_verfy"):
        text_format.Parse("client_verfy: true", config_pb2.SSLConfig())


def test_the_methods_have_the_names_that_stock_clients_call() -> None:
    methods = (
        services.PREDICT,
        services.CLASSIFY,
        services.REGRESS,
        services.MULTI_INFERENCE,
        services.GET_MODEL_METADATA,
        services.GET_MODEL_STATUS,
        services.HANDLE_RELOAD_CONFIG_REQUEST,
    )
    assert [method.path for method in methods] == [
        "/tensorflow.serving.PredictionService/Predict",
        "/tensorflow.serving.PredictionService/Classify",
        "/tensorflow.serving.PredictionService/Regress",
        "/tensorflow.serving.PredictionService/MultiInference",
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    ]
    for method in methods:
        assert method.request.FromString(b"") == method.request()
        assert method.response().SerializeToString() == b""


IMPORT_ALL = """
import importlib, pkgutil, sealserve.messages as room
from google.protobuf import descriptor_pb2, descriptor_pool
pool = descriptor_pool.Default()
file = descriptor_pb2.FileDescriptorProto(
    name="tensorflow/core/framework/tensor.proto", package="tensorflow", syntax="proto3")
file.message_type.add(name="TensorProto")
pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
for module in pkgutil.iter_modules(room.__path__):
    loaded = importlib.import_module(f"{room.__name__}.{module.name}")
    if module.name.endswith("_pb2"):
        assert loaded.DESCRIPTOR.name.startswith("sealserve/messages/"), loaded.DESCRIPTOR.name
        assert loaded.DESCRIPTOR.package == "sealserve.messages", loaded.DESCRIPTOR.package
"""


def test_the_messages_load_without_warnings_beside_tensorflows_own() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_ALL], check=True, timeout=60)
