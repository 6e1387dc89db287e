"""Statistics of a batch that two processes share, beside PyTorch's own of the whole batch."""

import copy
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, distributed, nn

from compress.distill.many.synchronised import SynchronisedNorm, synchronise, together, variance

WORLD = 2


def network() -> nn.Sequential:
    """Two norms, the second of values around 100: a variance that is a small difference."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 3, 2), nn.BatchNorm1d(3))
    with torch.no_grad():
        net[1].bias.fill_(100.0)
        net[0].weight.uniform_(0.5, 2)
        net[2].bias.uniform_(-1, 1)
    return net


def batches() -> Tensor:
    """Five batches of eight, `[5, 8, 4, 10]`."""
    return torch.randn(5, 8, 4, 10, generator=torch.Generator().manual_seed(1)) * 2 - 5


def steps(net: nn.Sequential, heard: Tensor, mean_of: int) -> list[Tensor]:
    """What five steps of descent give: the outputs, gradients, and the state at the end."""
    found = []
    for x in heard:
        y = net(x)
        net.zero_grad()
        (y**3).mean().backward()
        for parameter in net.parameters():
            assert parameter.grad is not None
            if mean_of > 1:  # what DDP does
                distributed.all_reduce(parameter.grad)
                parameter.grad /= mean_of
            found.append(parameter.grad.clone())
            with torch.no_grad():
                parameter -= 0.01 * parameter.grad
        found.append(y.detach())
    return [*found, *net.state_dict().values()]


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD
    )
    net = network()
    before = list(net.state_dict())
    synchronise(net)
    assert list(net.state_dict()) == before
    assert isinstance(net[0], SynchronisedNorm)
    share = batches().chunk(WORLD, dim=1)[rank]
    found = steps(net, share, WORLD)
    evaluated = net.eval()(share[0])
    torch.save((found, variance(share), evaluated), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_shares_are_normed_as_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(one_of_two, (str(tmp_path),), WORLD)
    net = network()
    whole = steps(net, batches(), 1)
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    for expected, *parts in zip(whole, *(share[0] for share in shares), strict=True):
        if expected.dim() == 3 and len(expected) == 8:  # an output
            parts = [torch.cat(parts)] * WORLD
        for part in parts:
            # Values around 100 have digits down to 1e-5, and a bias before a norm no gradient but
            # what a hundred of those add up to.
            torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-4)
    for share in shares:
        torch.testing.assert_close(share[1], batches().var())
    evaluated = torch.cat([share[2] for share in shares])
    torch.testing.assert_close(evaluated, net.eval()(batches()[0]), rtol=1e-4, atol=1e-4)


def test_one_process_has_pytorchs_own_norm() -> None:
    plain = network()
    put_in = copy.deepcopy(plain)
    synchronise(put_in)
    assert not together()
    assert put_in.state_dict().keys() == plain.state_dict().keys()
    for one, other in zip(steps(plain, batches(), 1), steps(put_in, batches(), 1), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(variance(batches()), batches().var())


def test_a_norm_that_is_put_in_is_the_one_that_was_there() -> None:
    net = network()
    norm = net[0]
    net.eval()
    synchronise(net)
    assert net[0] is not norm
    assert net[0].weight is norm.weight
    assert net[0].running_mean is norm.running_mean
    assert not net[0].training
