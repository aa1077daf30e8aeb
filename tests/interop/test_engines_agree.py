"""One SavedModel, each engine over the wire, and TensorFlow itself: the answers agree.

Tolerances are of float32: sums of some hundred products in another order differ in the last digits.
The largest deviation is printed (`pytest -s`) and recorded as a property of the test.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.client import Client
from served_site import served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

ENGINES = ("openvino", "tensorflow")
INPUTS = 200
TOLERANCES = {"logits": 1e-5, "probabilities": 1e-5}  # of the largest value that is expected


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


@pytest.fixture(scope="module")
def folder(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network with variables, as TensorFlow exports it."""
    random = np.random.default_rng(4)

    def weights(*shape: int) -> Any:
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        return tf.Variable(random.standard_normal(shape, np.float32) * np.float32(scale))

    module = tf.Module()
    module.kernels = [weights(3, 3, 3, 16), weights(3, 3, 16, 32)]
    module.dense, module.bias = weights(4 * 4 * 32, 10), weights(1, 10)

    def network(image: Any) -> Any:
        x = image
        for kernel in module.kernels:
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        logits = tf.matmul(tf.reshape(x, [-1, 4 * 4 * 32]), module.dense) + module.bias
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    module.network = tf.function(network, [tf.TensorSpec([None, 16, 16, 3], tf.float32, "image")])
    folder = tmp_path_factory.mktemp("site")
    tf.saved_model.save(module, str(folder / "models" / "net" / "1"), signatures=module.network)
    return folder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((INPUTS, 16, 16, 3), np.float32)


@pytest.fixture(scope="module")
def expected(tf: Any, folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """What TensorFlow computes in this process, one image at a time."""
    run = tf.saved_model.load(str(folder / "models" / "net" / "1")).signatures["serving_default"]
    rows = [run(image=tf.constant(image[None])) for image in images]
    return {name: np.concatenate([row[name].numpy() for row in rows]) for name in TOLERANCES}


Ask = Callable[[np.ndarray], dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=ENGINES)
def ask(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """Predictions of a server with this engine, over mutual TLS."""
    own = tmp_path_factory.mktemp(request.param)
    shutil.copytree(folder, own, dirs_exist_ok=True)
    flags = ("--model_name=net", "--model_base_path=models/net", f"--engine={request.param}")
    with ExitStack() as stack:
        site = stack.enter_context(served(own, *flags))
        client = stack.enter_context(
            Client(
                site.grpc,
                ca=site.pem("ca_cert.pem"),
                certificate=site.pem("client/cert.pem"),
                private_key=site.pem("client/key.pem"),
            )
        )
        yield lambda rows: client.predict("net", {"image": rows})


def deviation(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.dtype == wanted.dtype == np.float32
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("rows", [1, 7, INPUTS], ids="{} rows".format)
def test_an_engine_answers_as_tensorflow_does(
    ask: Ask,
    images: np.ndarray,
    expected: dict[str, np.ndarray],
    rows: int,
    record_property: Callable[[str, object], None],
) -> None:
    answers = [ask(images[start : start + rows]) for start in range(0, INPUTS, rows)]
    for name, tolerance in TOLERANCES.items():
        found = np.concatenate([answer[name] for answer in answers])
        largest = deviation(found, expected[name])
        print(f"{name}: {largest:.1e} of the largest value, {tolerance:.0e} allowed")  # noqa: T201
        record_property(f"deviation of {name}", largest)
        assert largest <= tolerance
        assert np.array_equal(found.argmax(axis=1), expected[name].argmax(axis=1))
