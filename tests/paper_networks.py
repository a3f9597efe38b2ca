"""The two networks of the paper, as `conf` builds them, by their names in the golden files."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from sepico_pl.assembly import build
from sepico_pl.model.segmentor import Segmentor

CONF = Path(__file__).resolve().parents[1] / "conf"
CHOICES = {
    "dlv2_r101": ["backbone=resnet101_v1c", "head=deeplabv2"],
    "daformer_mitb5": ["backbone=mit_b5", "head=daformer"],
}


def configured(*choices: str) -> dict:
    """Compose a run's configuration."""
    from sepico_pl.assembly import plain_config

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain_config(compose("run", [*choices, "name=test"]))


def network(*choices: str, num_classes: int = 19) -> Segmentor:
    """Build backbone, decode head and projection head of a configuration."""
    plain = configured(*choices)
    encoder = build("backbone", plain["backbone"])
    channels = encoder.channels
    heads = plain["head"]
    decode = build("head.decode", heads["decode"], channels=channels, num_classes=num_classes)
    projection = build("head.projection", heads["projection"], channels=channels)
    return Segmentor(encoder, decode, projection)


def paper_network(name: str) -> Segmentor:
    """Build a network of the golden files."""
    return network(*CHOICES[name])
