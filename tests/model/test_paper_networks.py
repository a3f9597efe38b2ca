"""Whole networks against the official code's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import filled_like_official, load, tensor
from paper_networks import paper_network

NAMES = ("dlv2_r101", "daformer_mitb5")


@pytest.fixture(scope="module", params=NAMES)
def outputs(request: pytest.FixtureRequest, shared: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Stages, logits and embeddings of a network filled by the rule, of the golden image."""
    fill = load(shared / "golden" / "fill.py").fill
    network = filled_like_official(paper_network(request.param), fill).eval()
    image = tensor(fill, "input.image", (1, 3, 64, 128))
    with torch.no_grad():
        stages = network.encode(image)
        (embeddings,) = network.embed(stages)
        found = {f"feat{i}_first8ch": stage[:, :8] for i, stage in enumerate(stages)}
        found |= {
            "logits": network.head(stages),
            "logits_full_every4": network(image)[..., ::4, ::4],
            "aux": embeddings,
        }
    return request.param, {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize(
    "part", [*(f"feat{i}_first8ch" for i in range(4)), "logits", "logits_full_every4", "aux"]
)
def test_network_gives_the_golden_numbers(golden, outputs, part: str) -> None:
    name, found = outputs
    theirs = golden("f_models.npz")[f"{name}_{part}"]
    assert found[part].shape == theirs.shape
    assert np.abs(found[part] - theirs).max() <= 1e-4 * np.abs(theirs).max()
