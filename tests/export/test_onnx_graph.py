"""The ONNX graph: free sizes, every kind of padding, weights inside or beside it."""

import numpy as np
import onnx
import onnxruntime
import pytest

from qwenkit.export.onnx_graph import build_graph, save_graph
from qwenkit.modeling.predictor import predict_logits
from tests.modeling.tiny_models import load_tiny, make_documents, make_tokenizer, train_briefly

PAD = make_tokenizer().pad_token_id
DOCUMENTS = [document.tolist() for document in make_documents(12, seed=5)[0]]
# float32 sums in another order.
CLOSE = {"atol": 2e-6, "rtol": 1e-5}


@pytest.fixture(scope="module")
def model():
    """A float32 classifier of two layers: what goes wrong at a pad in the first shows in the second."""
    return train_briefly(load_tiny())


@pytest.fixture(scope="module")
def graph(model):
    return build_graph(model)


@pytest.fixture(scope="module")
def folder(graph, tmp_path_factory):
    """A folder with the graph, its weights inside."""
    folder = tmp_path_factory.mktemp("graph")
    save_graph(graph, folder)
    return folder


@pytest.fixture(scope="module")
def session(folder):
    return onnxruntime.InferenceSession(folder / "model.onnx")


@pytest.fixture(scope="module")
def expected(model):
    logits = predict_logits(model, DOCUMENTS, pad_token_id=PAD, batch_tokens=100)
    assert logits.std() > 0.5
    return logits


def run(session, documents, *, side="right", pad_token_id=PAD, is_masked=True):
    """Score documents as one padded batch."""
    ids = np.full((len(documents), max(map(len, documents))), pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, document in enumerate(documents):
        place = slice(len(document)) if side == "right" else slice(-len(document), None)
        ids[row, place] = document
        mask[row, place] = 1
    mask = mask if is_masked else np.ones_like(mask)
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize(
    "padding",
    [{}, {"side": "left"}, {"pad_token_id": 0}, {"side": "left", "pad_token_id": 7}, {"is_masked": False}],
    ids=str,
)
def test_padding_changes_nothing(padding, session, expected):
    np.testing.assert_allclose(run(session, DOCUMENTS, **padding), expected, **CLOSE)


def test_any_number_of_documents_and_tokens_fits(session, expected):
    one_by_one = np.concatenate([run(session, [document]) for document in DOCUMENTS])
    np.testing.assert_allclose(one_by_one, expected, **CLOSE)
    assert run(session, [[5]]).shape == (1, 2)
    assert run(session, [[5] * 700, [6]]).shape == (2, 2)


def test_the_graph_is_valid_and_has_the_names_and_types_that_servers_expect(folder, session):
    onnx.checker.check_model(folder / "model.onnx", full_check=True)
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert inputs == dict.fromkeys(
        ("input_ids", "attention_mask"), ("tensor(int64)", ["documents", "tokens"])
    )
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == ("logits", "tensor(float)", ["documents", 2])
    assert onnx.load(folder / "model.onnx").opset_import[0].version == 20


def test_large_weights_lie_beside_the_graph(graph, tmp_path, expected):
    save_graph(graph, tmp_path, inline_limit_bytes=1000)
    weights = tmp_path / "model.onnx_data"
    assert weights.stat().st_size > 10 * 1000
    assert weights.read_bytes()[:1000] not in (tmp_path / "model.onnx").read_bytes()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (weights, tmp_path / "model.onnx"):
        path.rename(moved / path.name)
    session = onnxruntime.InferenceSession(moved / "model.onnx")
    np.testing.assert_allclose(run(session, DOCUMENTS), expected, **CLOSE)
