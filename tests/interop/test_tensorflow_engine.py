"""TensorFlow as the engine: what only it can serve, from sealed files, to stock clients."""

from __future__ import annotations

import base64
import gc
import importlib
import io
import math
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from exported_models import (
    CLASSES,
    CLASSIFY,
    REGRESS,
    export_counter,
    export_first_generation,
    export_words,
)
from sealserve.errors import (
    FailedPrecondition,
    FormatError,
    IntegrityError,
    InvalidArgument,
    Unimplemented,
)
from sealserve.messages.saved_model_pb2 import SavedModel
from sealserve.sealing import seal
from sealserve.serving.capacity import Capacity
from sealserve.serving.engine import Precision
from sealserve.serving.engines.tensorflow import TensorFlowEngine, has_bfloat16
from sealserve.serving.opening.keys import WrapKey
from sealserve.serving.opening.vault import Vault
from sealserve.serving.opening.version_files import FolderFiles
from served_site import PATIENCE, Site, seal_folder, served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

KEY = bytes(range(50, 66))
WEIGHTS = 1024  # squared: 4 MiB of float32
ROWS = [(0.5, "dog"), (-1.25, "cat"), (3.0, "nothing we know")]


@pytest.fixture(scope="module")
def tf() -> Any:
    """TensorFlow, in the process that has our messages and our server's parts."""
    return pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


@pytest.fixture(scope="module")
def words(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_words(tf, tmp_path_factory.mktemp("words") / "1", weights=WEIGHTS)


@pytest.fixture(scope="module")
def engine(tf: Any) -> TensorFlowEngine:
    return TensorFlowEngine(Capacity(threads=2, streams=2))


def load(engine: TensorFlowEngine, folder: Path) -> Any:
    return engine.load(FolderFiles(Vault(None), str(folder)), ["serve"])


@pytest.fixture(scope="module")
def loaded(engine: TensorFlowEngine, words: Path) -> Any:
    return load(engine, words)


def in_ram(tf: Any) -> list[str]:
    """What is left in TensorFlow's memory; there is no root to list while it is empty."""
    tf.io.gfile.makedirs("ram://other")
    return [name for name in tf.io.gfile.listdir("ram://") if name.startswith("sealserve")]


# The engine by itself.


def test_strings_tables_and_scalars(loaded: Any) -> None:
    outputs = loaded.executables["serving_default"].run(
        {"words": np.array([b"dog", b"\xff\0", b"bird"], object)}
    )
    assert outputs["ids"].tolist() == [1, -1, 2]
    assert outputs["upper"].tolist() == [b"DOG", b"\xff\0", b"BIRD"]
    assert outputs["raw_bytes"].tolist() == [b"dog", b"\xff\0", b"bird"]
    assert outputs["upper"].dtype == object
    assert outputs["count"].shape == ()
    assert outputs["count"].tolist() == 3


def test_shapes_are_completed_from_the_graph(loaded: Any) -> None:
    signature = loaded.executables["dense"].signature
    assert signature.inputs["x"].shape == (None, WEIGHTS)
    assert signature.outputs["y"].shape == (None, WEIGHTS)


def test_threads_get_the_answers_to_their_own_questions(loaded: Any) -> None:
    run = loaded.executables["serving_default"].run
    asked = [np.array([f"word {n}".encode()] * (1 + n % 3), object) for n in range(64)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda words: run({"words": words}), asked))
    for words, answer in zip(asked, answers, strict=True):
        assert answer["raw_bytes"].tolist() == words.tolist()


def test_an_answer_is_nobody_elses(loaded: Any) -> None:
    run = loaded.executables["dense"].run
    x = np.random.default_rng(2).standard_normal((2, WEIGHTS), np.float32)
    first = run({"x": x})["y"]
    kept = first.copy()
    first[:] = 7
    assert np.array_equal(run({"x": x})["y"], kept)


def test_examples_that_are_none_are_the_clients_mistake(
    loaded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), pytest.raises(InvalidArgument) as caught:
        loaded.executables["classify"].run({"inputs": np.array([b"private data"], object)})
    assert caught.value.message == "the model cannot compute with inputs 'inputs' [1]"
    assert "private" not in caplog.text


def test_an_export_of_tensorflow_1_is_served(tf: Any, engine: Any, tmp_path: Path) -> None:
    found = load(engine, export_first_generation(tf, tmp_path / "1"))
    ids = found.executables["serving_default"].run({"words": np.array([b"cat", b"x"], object)})
    assert ids["ids"].tolist() == [0, -1]
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(2)
    outputs = found.executables["value"].run(
        {"inputs": np.array([example.SerializeToString()], object)}
    )
    assert outputs["outputs"].tolist() == [[6.0]]
    assert found.executables["value"].signature.method == REGRESS


def test_variables_may_change_and_numbers_be_complex(tf: Any, engine: Any, tmp_path: Path) -> None:
    found = load(engine, export_counter(tf, tmp_path / "1"))
    run = found.executables["serving_default"].run
    for count in (1, 2, 3):
        outputs = run({"z": np.complex64([1 + 2j])})
        assert outputs["turned"].tolist() == [-2 + 1j]
        assert outputs["count"].tolist() == count


def written_bytes() -> int:
    """What this process has written so far, to files of every kind."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def test_a_model_is_in_memory_alone_and_then_only_as_a_session(
    tf: Any, engine: Any, words: Path, tmp_path: Path
) -> None:
    size = sum(path.stat().st_size for path in words.rglob("*") if path.is_file())
    assert size > 4 * WEIGHTS * WEIGHTS
    before = written_bytes()
    found = load(engine, words)
    assert written_bytes() - before < size // 100
    shared = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    assert not [f for f in shared if "w" in f[1] and "s" in f[1] and f[5:] and f[5][0] == "/"]
    assert in_ram(tf) == []
    assert found.executables["dense"].run({"x": np.zeros((1, WEIGHTS), np.float32)})
    before = written_bytes()
    (tmp_path / "control").write_bytes(bytes(size))
    assert written_bytes() - before >= size  # so a copy on a disk would have been seen


def test_what_is_unloaded_is_let_go_at_once(tf: Any, engine: Any, words: Path) -> None:
    def sessions() -> int:
        return sum(type(thing) is tf.compat.v1.Session for thing in gc.get_objects())

    before = sessions()
    found = load(engine, words)
    assert sessions() == before + 1
    gc.disable()
    try:
        del found
        assert sessions() == before
    finally:
        gc.enable()


def damage_graph(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"\xff")


def add_operation(folder: Path) -> None:
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].graph_def.node.add(name="fancy", op="OpThatNobodyHas")
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())


def rename_tensor(folder: Path) -> None:
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].signature_def["dense"].inputs["x"].name = "nobody:0"
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())


def forget_variables(folder: Path) -> None:
    (folder / "variables" / "variables.data-00000-of-00001").unlink()


def forget_assets(folder: Path) -> None:
    for path in (folder / "assets").iterdir():
        path.unlink()


DAMAGED = {
    "no SavedModel": (damage_graph, FormatError, "no SavedModel"),
    "an unknown operation": (add_operation, Unimplemented, "lacks the operation OpThatNobodyHas"),
    "an unknown tensor": (rename_tensor, FormatError, "'x' names 'nobody:0', which the graph"),
    "no variables": (forget_variables, FormatError, "cannot load the SavedModel"),
    "no assets": (forget_assets, FormatError, "cannot load the SavedModel"),
}


@pytest.mark.parametrize(("damage", "error", "text"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_version_is_refused_and_leaves_nothing(
    tf: Any, engine: Any, tmp_path: Path, damage: Any, error: type[Exception], text: str
) -> None:
    folder = export_words(tf, tmp_path / "1")
    damage(folder)
    with pytest.raises(error, match=text):
        load(engine, folder)
    assert in_ram(tf) == []


def test_another_format_is_refused_with_who_reads_it(engine: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(Unimplemented, match="does not read an ONNX model; --engine=openvino does"):
        load(engine, tmp_path)


def test_other_tags_are_refused(engine: Any, words: Path) -> None:
    with pytest.raises(FailedPrecondition, match="Could not find meta graph def"):
        engine.load(FolderFiles(Vault(None), str(words)), ["serve", "gpu"])


def test_a_file_that_was_added_is_refused(
    tf: Any, engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export_words(tf, tmp_path / "1")
    seal_folder(tmp_path, "1", KEY)
    (tmp_path / "1" / "variables" / "more").write_bytes(b"not sealed")
    vault = Vault([WrapKey(KEY)])
    with pytest.raises(IntegrityError, match="variables/more"):
        engine.load(FolderFiles(vault, "1"), ["serve"])
    assert in_ram(tf) == []


def test_bfloat16_is_near_float32_and_not_it(tf: Any, loaded: Any, words: Path) -> None:
    if not has_bfloat16(Path("/proc/cpuinfo").read_text()):
        pytest.skip("the processor has no bfloat16")
    other = load(TensorFlowEngine(Capacity(2, 1), Precision.BF16), words)
    x = np.random.default_rng(3).standard_normal((8, WEIGHTS), np.float32) / math.sqrt(WEIGHTS)
    exact = loaded.executables["dense"].run({"x": x})["y"]
    coarse = other.executables["dense"].run({"x": x})["y"]
    assert 1e-6 < np.abs(exact - coarse).max() / exact.max() < 5e-2


# Over the wire, from sealed files.


@pytest.fixture(scope="module")
def site(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for path in words.rglob("*"):
        if path.is_file():
            name = f"models/words/1/{path.relative_to(words)}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("w+b") as sink:
                seal(io.BytesIO(path.read_bytes()), sink, KEY, path=name)
    flags = ("--model_name=words", "--model_base_path=models/words", "--engine=tensorflow")
    with served(folder, *flags, key=KEY) as site:
        yield site


@pytest.fixture(scope="module")
def stock(site: Site) -> Iterator[SimpleNamespace]:
    """The stock messages, and a stub of PredictionService."""
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    names = ("predict_pb2", "classification_pb2", "regression_pb2", "inference_pb2")
    names += ("input_pb2", "prediction_service_pb2_grpc")
    apis = {name: importlib.import_module(f"tensorflow_serving.apis.{name}") for name in names}
    credentials = grpc.ssl_channel_credentials(
        site.pem("ca_cert.pem"), site.pem("client/key.pem"), site.pem("client/cert.pem")
    )
    with grpc.secure_channel(site.grpc, credentials) as channel:
        stub = apis["prediction_service_pb2_grpc"].PredictionServiceStub(channel)
        yield SimpleNamespace(**apis, stub=stub)


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    tls = site.folder / "tls"
    context = ssl.create_default_context(cafile=str(tls / "ca_cert.pem"))
    context.load_cert_chain(tls / "client" / "cert.pem", tls / "client" / "key.pem")
    with httpx.Client(base_url=f"https://{site.rest}", verify=context, timeout=PATIENCE) as http:
        yield http


def asked_about(tf: Any, request: Any, signature: str | None = None) -> Any:
    """The request with `ROWS` as examples."""
    if signature is not None:
        request.model_spec.name = "words"
        request.model_spec.signature_name = signature
    for x, word in ROWS:
        features = request.input.example_list.examples.add().features.feature
        features["x"].float_list.value.append(x)
        features["word"].bytes_list.value.append(word.encode())
    return request


@pytest.fixture(scope="module")
def expected(tf: Any, words: Path) -> dict[str, np.ndarray]:
    """What TensorFlow itself computes for `ROWS`."""
    model = tf.saved_model.load(str(words))
    examples = []
    for x, word in ROWS:
        example = tf.train.Example()
        example.features.feature["x"].float_list.value.append(x)
        example.features.feature["word"].bytes_list.value.append(word.encode())
        examples.append(example.SerializeToString())
    found = {**model.signatures["classify"](inputs=tf.constant(examples))}
    found |= model.signatures["regress"](inputs=tf.constant(examples))
    return {alias: tensor.numpy() for alias, tensor in found.items()}


def pairs(classifications: Any) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in row.classes] for row in classifications]


def wanted_pairs(expected: dict[str, np.ndarray]) -> list[list[tuple[str, Any]]]:
    names = [name.decode() for name in CLASSES]
    return [
        list(zip(names, map(pytest.approx, row), strict=True))
        for row in expected["scores"].tolist()
    ]


def test_the_stock_client_classifies(
    tf: Any, stock: SimpleNamespace, expected: dict[str, np.ndarray]
) -> None:
    request = asked_about(tf, stock.classification_pb2.ClassificationRequest(), "classify")
    answer = stock.stub.Classify(request, PATIENCE)
    assert pairs(answer.result.classifications) == wanted_pairs(expected)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("words", 1, "classify")


def test_the_stock_client_regresses(
    tf: Any, stock: SimpleNamespace, expected: dict[str, np.ndarray]
) -> None:
    request = asked_about(tf, stock.regression_pb2.RegressionRequest(), "regress")
    answer = stock.stub.Regress(request, PATIENCE)
    values = [regression.value for regression in answer.result.regressions]
    assert values == pytest.approx(expected["outputs"].ravel().tolist())
    assert answer.model_spec.signature_name == "regress"


def test_the_stock_client_gives_a_context(tf: Any, stock: SimpleNamespace) -> None:
    request = stock.regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "words", "regress"
    both = request.input.example_list_with_context
    both.context.features.feature["word"].bytes_list.value.append(b"bird")
    for x in (0.0, 2.0):
        both.examples.add().features.feature["x"].float_list.value.append(x)
    answer = stock.stub.Regress(request, PATIENCE)
    assert [regression.value for regression in answer.result.regressions] == [2.0, 7.0]


def test_the_stock_client_asks_several_at_once(
    tf: Any, stock: SimpleNamespace, expected: dict[str, np.ndarray]
) -> None:
    request = asked_about(tf, stock.inference_pb2.MultiInferenceRequest())
    for method, signature in ((REGRESS, "regress"), (CLASSIFY, "classify")):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "words", signature
    regressed, classified = stock.stub.MultiInference(request, PATIENCE).results
    values = [regression.value for regression in regressed.regression_result.regressions]
    assert values == pytest.approx(expected["outputs"].ravel().tolist())
    found = pairs(classified.classification_result.classifications)
    assert found == wanted_pairs(expected)
    assert regressed.model_spec.version.value == classified.model_spec.version.value == 1
    assert classified.model_spec.signature_name == "classify"


def test_the_stock_client_sends_and_gets_strings(tf: Any, stock: SimpleNamespace) -> None:
    request = stock.predict_pb2.PredictRequest()
    request.model_spec.name = "words"
    request.inputs["words"].CopyFrom(tf.make_tensor_proto([b"bird", b"\xff"], tf.string))
    answer = stock.stub.Predict(request, PATIENCE).outputs
    assert tf.make_ndarray(answer["ids"]).tolist() == [2, -1]
    assert tf.make_ndarray(answer["upper"]).tolist() == [b"BIRD", b"\xff"]


def test_our_client_sends_and_gets_strings(site: Site) -> None:
    with site.client() as client:
        answer = client.predict("words", {"words": np.array([b"dog"], object)})
    assert answer["ids"].tolist() == [1]
    assert answer["raw_bytes"].tolist() == [b"dog"]


def test_damaged_examples_are_the_clients_mistake(stock: SimpleNamespace) -> None:
    request = stock.classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "words", "classify"
    request.input.example_list.examples.add()  # without the feature that the model needs
    with pytest.raises(grpc.RpcError) as caught:
        stock.stub.Classify(request, PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the model cannot compute with inputs 'inputs' [1]"


def rest_examples() -> list[dict[str, Any]]:
    return [{"x": x, "word": {"b64": base64.b64encode(w.encode()).decode()}} for x, w in ROWS]


def test_rest_classifies(http: httpx.Client, expected: dict[str, np.ndarray]) -> None:
    body = {"signature_name": "classify", "examples": rest_examples()}
    answer = http.post("/v1/models/words/versions/1:classify", json=body).json()
    found = [[tuple(pair) for pair in row] for row in answer["results"]]
    assert found == wanted_pairs(expected)


def test_rest_regresses(http: httpx.Client, expected: dict[str, np.ndarray]) -> None:
    body = {"signature_name": "regress", "examples": rest_examples()}
    answer = http.post("/v1/models/words:regress", json=body).json()
    assert answer == {"results": pytest.approx(expected["outputs"].ravel().tolist())}


def test_rest_gives_a_context_and_numbers_that_are_none(http: httpx.Client) -> None:
    body = '{"signature_name": "regress", "context": {"word": "dog"}, "examples": [{"x": %s}]}'
    for number, value in (("Infinity", math.inf), ("-0.5", -0.25)):
        answer = http.post("/v1/models/words:regress", content=body % number).json()
        assert answer == {"results": [value]}
    answer = http.post("/v1/models/words:regress", content=body % "NaN").json()
    assert math.isnan(answer["results"][0])


def test_rest_sends_and_gets_bytes(http: httpx.Client) -> None:
    body = {"inputs": {"words": ["bird", {"b64": "/wA="}]}}
    outputs = http.post("/v1/models/words:predict", json=body).json()["outputs"]
    assert outputs["ids"] == [2, -1]
    assert outputs["raw_bytes"] == [{"b64": "YmlyZA=="}, {"b64": "/wA="}]
    assert outputs["count"] == 2
