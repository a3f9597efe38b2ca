import gc

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sepico_pl.model.heads import resize
from sepico_pl.model.inference import Inference
from sepico_pl.types import InputError


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Module:
    """Sees its neighbours, and which side is left."""
    torch.manual_seed(1)
    return nn.Conv2d(3, 4, 3, padding=1)


@pytest.fixture
def pixelwise() -> nn.Module:
    torch.manual_seed(2)
    return nn.Conv2d(3, 4, 1)


def test_the_whole_image_gives_its_logits_resized(network: nn.Module, image: torch.Tensor) -> None:
    scores = Inference()(network, image, (24, 40))
    assert torch.equal(scores, resize(network(image), (24, 40)))


def test_mirrored_images_give_mirrored_scores(network: nn.Module, image: torch.Tensor) -> None:
    both = Inference(flip=True)
    scores = both(network, image, (24, 40))
    torch.testing.assert_close(both(network, image.flip(-1), (24, 40)), scores.flip(-1))
    alone = Inference()(network, image.flip(-1), (24, 40)).flip(-1)
    assert not torch.allclose(Inference()(network, image, (24, 40)), alone)
    expected = torch.stack(
        [
            resize(network(image), (24, 40)).softmax(1),
            resize(network(image.flip(-1)).flip(-1), (24, 40)).softmax(1),
        ]
    ).mean(0)
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    ("window", "stride"), [((5, 7), (3, 4)), ((12, 20), None), ((50, 9), (1, 9)), ((4, 4), None)]
)
def test_windows_of_a_pixelwise_network_see_the_whole(
    pixelwise: nn.Module, image: torch.Tensor, window, stride
) -> None:
    slid = Inference(window=window, stride=stride)(pixelwise, image, (12, 20))
    torch.testing.assert_close(slid, pixelwise(image))


def test_windows_are_averaged(image: torch.Tensor) -> None:
    """A network that answers by the place in its window: columns 0 to 3, windows at 0, 2 and 4."""

    def place(part: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(part.shape[-1], dtype=torch.float32)
        return columns.expand(len(part), 1, part.shape[-2], -1)

    scores = Inference(window=(2, 4), stride=(2, 2))(place, image[..., :2, :8], (2, 8))
    assert scores[0, 0, 0].tolist() == [0, 1, 1, 2, 1, 2, 2, 3]


def test_windows_are_added_up_in_one_map(network: nn.Module, image: torch.Tensor) -> None:
    """However many there are, no map of the input's size is made anew for each."""
    made = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, given=(), named=None):
            result = function(*given, **(named or {}))
            if isinstance(result, torch.Tensor) and result.shape == (2, 4, 12, 20):
                made.append(result.untyped_storage().data_ptr())
            return result

    def slid(stride: tuple[int, int]) -> torch.Tensor:
        return Inference(window=(6, 10), stride=stride)(network, image, (12, 20))

    with torch.no_grad():
        few = slid((6, 10))
        with Watch():
            slid((2, 2))
        parts = [[network(image[..., t : t + 6, x : x + 10]) for x in (0, 10)] for t in (0, 6)]
    assert len(set(made)) <= 3  # the sum, the mean, and what resizing may copy
    whole = torch.cat([torch.cat(row, dim=-1) for row in parts], dim=-2)
    torch.testing.assert_close(few, whole)  # in a batch kernels may sum in another order


def test_scales_are_averaged_as_probabilities(network: nn.Module, image: torch.Tensor) -> None:
    scores = Inference(scales=(0.5, 1.0))(network, image, (12, 20))
    half = resize(network(resize(image, (6, 10))), (12, 20)).softmax(1)
    expected = (half + network(image).softmax(1)) / 2
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 12, 20))


def test_views_are_not_kept(network: nn.Module, image: torch.Tensor) -> None:
    """However many there are, one map of the label's size is held while another view is seen."""
    held = []

    def counting(part: torch.Tensor) -> torch.Tensor:
        alive = [one for one in gc.get_objects() if type(one) is torch.Tensor]
        held.append(sum(one.shape == (2, 4, 24, 40) for one in alive))
        return network(part)

    with torch.no_grad():
        Inference(scales=(0.5, 1.0, 1.5), flip=True)(counting, image, (24, 40))
    assert held == [0, 1, 1, 1, 1, 1]


def test_class_weights_tip_the_balance(image: torch.Tensor) -> None:
    def even(part: torch.Tensor) -> torch.Tensor:
        return torch.stack([part[:, 0] * 0, part[:, 0] * 0 - 0.01], dim=1)

    assert Inference()(even, image, (12, 20)).argmax(1).eq(0).all()
    weighted = Inference(class_weights=torch.tensor([0.9, 1.1]))
    scores = weighted(even, image, (12, 20))
    assert scores.argmax(1).eq(1).all()
    torch.testing.assert_close(weighted.probabilities(scores[0]).sum(0), torch.ones(12, 20))


def test_probabilities_of_logits(network: nn.Module, image: torch.Tensor) -> None:
    whole = Inference()
    scores = whole(network, image, (12, 20))
    torch.testing.assert_close(whole.probabilities(scores[0]), scores[0].softmax(0))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, -1.0)}, "scales"),
        ({"window": (0, 4)}, "window"),
        ({"window": (4, 0)}, "window"),
        ({"window": (4,)}, "window"),
        ({"window": (4, 4, 4)}, "window"),
        ({"window": (4, 4), "stride": (5, 1)}, "stride"),
        ({"window": (4, 4), "stride": (1, 5)}, "stride"),
        ({"window": (4, 4), "stride": (0, 1)}, "stride"),
        ({"window": (4, 4), "stride": (2,)}, "stride"),
        ({"stride": (1, 1)}, "stride"),
    ],
)
def test_what_cannot_be(settings: dict, key: str) -> None:
    with pytest.raises(InputError, match=rf"^{key}="):
        Inference(**settings)


def test_rows_and_columns_have_windows_and_strides_of_their_own(image: torch.Tensor) -> None:
    """How often each place is seen, and where windows start, by a network that shows them."""
    seen = torch.zeros(12, 20, dtype=torch.int64)
    number = torch.arange(240.0).reshape(1, 1, 12, 20).expand(1, 3, -1, -1)
    starts, sizes, together = [], set(), []

    def recording(part: torch.Tensor) -> torch.Tensor:
        sizes.add(tuple(part.shape[-2:]))
        together.append(len(part))
        for window in part:
            starts.append(divmod(int(window[0, 0, 0]), 20))
            seen.view(-1)[window[0].long().flatten()] += 1
        return part

    scores = Inference(window=(6, 9), stride=(3, 8))(recording, number, (12, 20))
    assert torch.equal(scores, number)
    assert sizes == {(6, 9)}
    assert together == [4, 4, 1]  # four of 6x9 have the area of 12x20
    assert starts == [(row, column) for row in (0, 3, 6) for column in (0, 8, 11)]
    assert seen[:, 0].tolist() == [1] * 3 + [2] * 6 + [1] * 3
    starts.clear()
    Inference(window=(6, 9))(recording, number, (12, 20))
    assert starts == [(row, column) for row in (0, 4, 6) for column in (0, 6, 11)]


def test_a_stride_may_be_as_long_as_its_window(pixelwise: nn.Module, image: torch.Tensor) -> None:
    slid = Inference(window=(1, 20), stride=(1, 20))(pixelwise, image, (12, 20))
    torch.testing.assert_close(slid, pixelwise(image))


@pytest.mark.parametrize("window", [(1, 1), (1, 2), (2, 1)])
def test_the_smallest_windows_leave_no_pixel_out(window: tuple[int, int]) -> None:
    """Two thirds of a pixel are a step of one."""
    image = torch.rand(1, 3, 3, 5, generator=torch.Generator().manual_seed(0))
    seen = Inference(window=window)(lambda part: part, image, (3, 5))
    torch.testing.assert_close(seen, image)


def test_scaled_sides_are_rounded_and_never_nothing(image: torch.Tensor) -> None:
    sizes = []

    def recording(part: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(part.shape[-2:]))
        return part

    Inference(scales=(0.3, 0.02, 0.125))(recording, image, (12, 20))
    assert sizes == [(4, 6), (1, 1), (2, 3)]


def test_every_view_beyond_the_first_makes_probabilities(image: torch.Tensor) -> None:
    weights = torch.ones(3)
    for settings in ({"flip": True}, {"scales": (0.5,)}, {"class_weights": weights}):
        several = Inference(**settings)
        assert not several.single_view
        scores = several(lambda part: part, image, (12, 20))
        torch.testing.assert_close(scores.sum(1), torch.ones(2, 12, 20))
        halved = several.probabilities(scores[0] / 2)
        torch.testing.assert_close(halved, scores[0])
