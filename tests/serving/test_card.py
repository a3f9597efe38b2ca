"""The model card of a network whose words came from others."""

import pytest
import yaml
from huggingface_hub import ModelCardData
from markdown_it import MarkdownIt

from sepico_pl.serving.card import model_card
from sepico_pl.types import ClassSet

HOSTILE = "<script>1</script>|`x`\n---\nlicense: mit\n# [a](http://x.example) <img src=x>"


@pytest.fixture
def card() -> str:
    made = model_card(
        ModelCardData(library_name="sepico_pl", tags=["a"]),
        backbone={"_target_": "sepico_pl.model.encoder.SmpEncoder", "name": HOSTILE},
        decode={"_target_": f"sepico_pl.{HOSTILE.replace('.', '')}"},
        classes=ClassSet((HOSTILE, "traffic light"), ((1, 2, 3), (4, 5, 6))),
        input_size=(32, 64),
        provenance={"steps": HOSTILE, HOSTILE: "3"},
    )
    return str(made)


def test_words_are_text(card: str) -> None:
    body = card.split("---\n", 2)[2]
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    inline = [child for token in tokens for child in token.children or []]
    assert not [token for token in [*tokens, *inline] if token.type.startswith("html")]
    links = {token.attrs["href"] for token in inline if token.type == "link_open"}
    assert links <= {"https://arxiv.org/abs/2204.08808"}
    assert not [token for token in inline if token.type == "image"]
    headings = [token for token in tokens if token.type == "heading_open"]
    assert [token.tag for token in headings] == ["h1", "h2", "h2", "h2", "h2"]
    assert "| 1 | traffic light | 4, 5, 6 |" in body


def test_the_front_matter_is_the_hubs_alone(card: str) -> None:
    _, front, _ = card.split("---\n", 2)
    assert yaml.safe_load(front) == {"library_name": "sepico_pl", "tags": ["a"]}
