import pytest
import torch

from skdiffuse.networks import VarianceHead


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    head = VarianceHead(4)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return head.requires_grad_(False)


def fields(n, shape=(3, 6, 5)):
    return torch.randn(3, n, *shape, generator=torch.Generator().manual_seed(1))


def test_a_sample_comes_out_alone_as_in_a_batch(head):
    z, x_hat, eps_hat = fields(3)
    levels = torch.tensor([-9.0, 0.0, 7.0], dtype=torch.float64)
    together = head(z, x_hat, eps_hat, levels)
    for i in range(3):
        one = head(z[[i]], x_hat[[i]], eps_hat[[i]], levels[i])
        torch.testing.assert_close(together[[i]], one)
    assert not torch.allclose(together, head(z, x_hat, eps_hat, levels.flip(0)))


def test_any_size_and_never_beyond_its_bound(head):
    for shape in ((1, 4, 4), (7, 9, 2)):
        found = head(*(1e4 * fields(2, shape)), torch.tensor(0.0))
        assert found.shape == (2, *shape)
        assert found.abs().max() <= 6
