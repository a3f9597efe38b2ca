import pytest
import torch
from torch import nn

from sepico_pl.adapt.batch_norm import target_statistics


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 2, 1))
    net(torch.randn(8, 3, 4, 4))
    return net


def buffers(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_the_images_and_back(training: bool) -> None:
    net = network().train(training)
    before = buffers(net)
    batches = [torch.randn(4, 3, 6, 6) * 3 + 7 for _ in range(3)]
    with target_statistics(net, batches):
        images = torch.stack(batches)
        means = images.mean(dim=(1, 3, 4)).mean(dim=0)
        variances = torch.stack([b.var(dim=(0, 2, 3)) for b in batches]).mean(dim=0)
        torch.testing.assert_close(net[0].running_mean, means)
        torch.testing.assert_close(net[0].running_var, variances)
        assert not any(module.training for module in net.modules())
        assert net(batches[0]).std() > 0
    after = buffers(net)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert net.training == net[1].training == training


def test_statistics_come_back_after_an_error() -> None:
    net = network()
    before = buffers(net)

    def fail() -> None:
        with target_statistics(net, [torch.ones(2, 3, 4, 4)]):
            assert not torch.equal(net[0].running_mean, before["0.running_mean"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert all(torch.equal(before[name], buffer) for name, buffer in buffers(net).items())


def test_dropout_does_not_disturb_the_statistics() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3))
    with target_statistics(net, [torch.ones(2, 3, 4, 4)]):
        torch.testing.assert_close(net[1].running_mean, torch.ones(3))


def test_statistics_come_back_if_the_images_fail() -> None:
    net = network().train()
    before = buffers(net)

    def images():
        yield torch.ones(2, 3, 4, 4)
        raise OSError

    with pytest.raises(OSError), target_statistics(net, images()):  # noqa: PT011
        pytest.fail("the body must not run")
    assert all(torch.equal(before[name], buffer) for name, buffer in buffers(net).items())
    assert net.training


def test_a_network_without_batch_norm_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Dropout(0.5)).eval()
    image = torch.randn(2, 3, 4, 4)
    expected = net(image)
    with target_statistics(net, [image + 5]):
        assert torch.equal(net(image), expected)
