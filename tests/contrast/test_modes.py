import pytest
import torch

from sepico_pl.contrast.losses import distribution_loss, prototype_loss
from sepico_pl.contrast.modes import (
    BankContrast,
    DistributionContrast,
    MultiStageContrast,
    PixelContrast,
    PrototypeContrast,
)
from sepico_pl.contrast.pixels import select_pixels
from sepico_pl.types import InputError

MODES = {"proto": PrototypeContrast, "dist": DistributionContrast, "bank": BankContrast}
DTYPES = {"f32": torch.float32, "f64": torch.float64}


def contrast(mode: str, length: int = 3, **changes: object) -> PixelContrast:
    settings = {
        "num_classes": 19,
        "width": 16,
        "temperature": 1.0,
        "weight": 1.0,
        "diversity_weight": 0.0,
        "min_share": 0.75,
        **({"length": length} if mode == "bank" else {}),
        **changes,
    }
    return MODES[mode](**settings)


def fed(module: PixelContrast, record, dtype: torch.dtype) -> PixelContrast:
    module.to(dtype)
    for embeddings, labels in zip(record["est_feat"], record["est_label"], strict=True):
        module.update_pixels(torch.from_numpy(embeddings).to(dtype), torch.from_numpy(labels))
    return module


@pytest.mark.parametrize("length", [3, 200])
@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("name", list(DTYPES))
def test_losses_and_gradients_are_the_official_ones(golden, name, mode, length) -> None:
    record = golden(f"b_losses_M{length}.npz")
    # Class-weighted cases: test_class_weights_are_the_callers_factors.
    cases = [
        key.removesuffix("_loss")
        for key in record.files
        if key.startswith(f"{name}_{mode}_") and key.endswith("_loss") and "_cw_" not in key
    ]
    assert len(cases) == 25
    module = fed(contrast(mode, length), record, DTYPES[name])
    for case in cases:
        parts = case.split("_")
        module.temperature = float(parts[-2][1:])
        module.diversity_weight = float(parts[-1][1:])
        module.min_share = None if "noavg" in parts else 0.75
        embeddings = torch.from_numpy(record["feat"]).to(DTYPES[name]).requires_grad_()
        loss = module(embeddings, torch.from_numpy(record[f"mask_{parts[2]}"])[:, 0])
        (gradient,) = torch.autograd.grad(loss, embeddings)
        expected = torch.from_numpy(record[f"{case}_grad"])
        assert loss.item() == pytest.approx(float(record[f"{case}_loss"]), rel=1e-5), case
        error = (gradient - expected).norm() / expected.norm().clamp(min=1e-12)
        assert error <= 1e-5, case


@pytest.mark.parametrize("length", [3, 200])
@pytest.mark.parametrize("mode", ["proto", "dist"])
@pytest.mark.parametrize("name", list(DTYPES))
def test_class_weights_are_the_callers_factors(golden, name, mode, length) -> None:
    """Losses are per pixel: weights multiply them, and the mean does not divide by the weights.

    The official code weighs the cross-entropy alone, not the variance term of the pixel's class.
    """
    record, dtype = golden(f"b_losses_M{length}.npz"), DTYPES[name]
    mean, variance = (torch.from_numpy(record[f"{name}_{part}"]) for part in ("mean", "cov"))
    feature = torch.from_numpy(record["feat"]).to(dtype).requires_grad_()
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    embeddings, classes = select_pixels(feature, labels, 19, 0.75)
    weights = torch.linspace(0.5, 2, 19, dtype=dtype)[classes]
    if mode == "proto":
        loss = (weights * prototype_loss(embeddings, classes, mean, 100.0)).mean()
    else:
        losses = distribution_loss(embeddings, classes, mean, variance, 100.0)
        spread = (embeddings.square() * variance[classes]).sum(dim=1) / (2 * 100.0**2)
        loss = (weights * (losses - spread) + spread).mean()
    (gradient,) = torch.autograd.grad(loss, feature)
    assert loss.item() == pytest.approx(float(record[f"{name}_{mode}_many_cw_loss"]), rel=1e-6)
    expected = torch.from_numpy(record[f"{name}_{mode}_many_cw_grad"])
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("mode", ["proto", "dist"])
@pytest.mark.parametrize(("weights", "factors"), [("w1", (1.0, 1.0)), ("w2", (0.5, 2.0))])
@pytest.mark.parametrize("name", list(DTYPES))
def test_layers_add_up_as_in_the_official_code(golden, name, mode, weights, factors) -> None:
    record = golden("b_losses_M3.npz")
    key = f"{name}_module_{mode}_{weights}"
    dtype = DTYPES[name]
    mean, variance = (torch.from_numpy(record[f"{name}_{part}"]) for part in ("mean", "cov"))
    stages = []
    for factor, of_mean, of_variance in zip(factors, (1.0, 0.5), (1.0, 2.0), strict=True):
        stage = contrast(mode, temperature=100.0, diversity_weight=1.0, weight=factor).to(dtype)
        stage.moments.mean.copy_(of_mean * mean)
        stage.moments.variance.copy_(of_variance * variance)
        stages.append(stage)
    embeddings = torch.from_numpy(record["feat"]).to(dtype)
    maps = [one.requires_grad_() for one in (embeddings.clone(), -embeddings.flip(1))]
    labels = torch.from_numpy(record["mask_few"])[:, 0]
    loss = MultiStageContrast(stages)(maps, labels)
    assert loss.item() == pytest.approx(float(record[f"{key}_loss"]), rel=1e-5)
    for level, gradient in enumerate(torch.autograd.grad(loss, maps)):
        expected = torch.from_numpy(record[f"{key}_grad{level}"])
        assert (gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("mode", list(MODES))
def test_no_selected_pixel_is_a_zero_with_a_graph(mode: str) -> None:
    module = contrast(mode, diversity_weight=1.0)
    embeddings = torch.randn(2, 16, 4, 4, requires_grad=True)
    labels = torch.full((2, 16, 16), 255)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.update(embeddings.detach(), labels)
    loss = module(embeddings, labels)
    loss.backward()
    assert loss.item() == 0
    assert not embeddings.grad.any()
    assert module.margin(embeddings.detach(), labels) is None
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("mode", list(MODES))
def test_half_precision_is_computed_in_float32(golden, mode: str) -> None:
    record = golden("b_losses_M3.npz")
    module = fed(contrast(mode, temperature=0.1), record, torch.float32)
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    half = torch.from_numpy(record["feat"]).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, module(half.float(), labels))


def test_weight_scales_the_whole_loss(golden) -> None:
    record = golden("b_losses_M3.npz")
    of = (torch.from_numpy(record["feat"]), torch.from_numpy(record["mask_many"])[:, 0])
    losses = [
        fed(contrast("proto", weight=w, diversity_weight=1.0), record, torch.float32)(*of)
        for w in (1.0, 0.25, 0.0)
    ]
    torch.testing.assert_close(losses[1], 0.25 * losses[0])
    assert losses[2].item() == 0


@pytest.mark.parametrize("mode", list(MODES))
def test_statistics_are_float32_under_autocast(golden, mode: str) -> None:
    record = golden("b_losses_M3.npz")
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    half = torch.from_numpy(record["feat"]).bfloat16()
    plain, mixed = contrast(mode), contrast(mode)
    plain.update(half.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed.update(half, labels)
        margin = mixed.margin(half, labels)
    assert plain.moments.count.sum() > 0
    for name, expected in plain.state_dict().items():
        assert torch.equal(mixed.state_dict()[name], expected), name
    assert torch.equal(margin, plain.margin(half.float(), labels))


@pytest.mark.parametrize("mode", list(MODES))
def test_statistics_are_part_of_the_state(golden, mode: str) -> None:
    record = golden("b_losses_M3.npz")
    of = (torch.from_numpy(record["feat"]), torch.from_numpy(record["mask_many"])[:, 0])
    one, other = fed(contrast(mode), record, torch.float32), contrast(mode)
    assert not torch.equal(one(*of), other(*of))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*of), other(*of))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(value: float) -> None:
    with pytest.raises(InputError, match=r"contrast\.temperature"):
        contrast("proto", temperature=value)


def test_there_is_one_map_for_each_stage(golden) -> None:
    record = golden("b_losses_M3.npz")
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    one = torch.from_numpy(record["feat"])
    stages = MultiStageContrast([contrast("proto"), contrast("proto")])
    for maps in ([one], [one] * 3):
        with pytest.raises(ValueError, match="argument 2"):
            stages.update(maps, labels)
        with pytest.raises(ValueError, match="argument 2"):
            stages(maps, labels)


@pytest.mark.parametrize("mode", list(MODES))
def test_statistics_and_margins_have_no_graph(golden, mode: str) -> None:
    record = golden("b_losses_M3.npz")
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    embeddings = torch.from_numpy(record["feat"]).requires_grad_()
    module = contrast(mode)
    module.update(embeddings, labels)
    assert not any(buffer.requires_grad for buffer in module.buffers())
    assert not module.margin(embeddings, labels).requires_grad


def test_margins_are_float32_under_autocast(golden) -> None:
    """Differences of similarities: bfloat16 would round them at the third digit."""
    record = golden("b_losses_M3.npz")
    labels = torch.from_numpy(record["mask_many"])[:, 0]
    embeddings = torch.from_numpy(record["feat"])
    module = fed(contrast("proto"), record, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module.margin(embeddings, labels)
    assert mixed.dtype == torch.float32
    pixels, classes = select_pixels(embeddings, labels, 19, 0.75)
    similar = pixels.double() @ module.moments.mean.double().T
    own = similar.gather(1, classes[:, None])[:, 0]
    others = similar.scatter(1, classes[:, None], -torch.inf).amax(dim=1)
    assert float(mixed) == pytest.approx(float((own - others).mean()), rel=1e-5)
