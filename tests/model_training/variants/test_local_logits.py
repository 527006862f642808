"""The border between network and pooling is found by structure, whatever nodes are called."""

import onnx
import pytest

from model_training.errors import VariantError
from model_training.variants.local_logits import local_logits, pooling
from tests.model_training.small_network import small_network
from tests.tiny_model import write_tiny_model


def test_last_convolution_before_the_evidence_makes_the_local_logits():
    assert local_logits(small_network()).name == "local_conv"


def test_pooling_is_everything_that_depends_on_them():
    assert [node.name for node in pooling(small_network())] == ["pool", "pool_mean", "probability", "evidence_map"]


def test_graph_without_a_convolution_has_no_variants(tmp_path):
    with pytest.raises(VariantError, match="no convolution leads to the output 'evidence'"):
        local_logits(onnx.load(write_tiny_model(tmp_path / "tiny.onnx")))
