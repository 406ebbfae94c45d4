import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import VideoUNet
from skdiffuse.training import Budget, Trainer, WindowBatches, masked_v_loss


def make_trainer(rain=None, **options):
    rain = np.random.default_rng(0).gamma(0.3, 1.0, (12, 8, 8)) if rain is None else rain
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VideoUNet(width=8, multipliers=(1, 2))
    windows = WindowBatches(validate_cube(rain), 3, (8, 8), batch_size=4, seed=0)
    return Trainer(network, windows, torch.sqrt, TruncatedCosineSchedule(), **options)


def weights_of(trainer):
    return torch.cat([p.flatten() for p in trainer.average.network.state_dict().values()])


def test_loss_falls():
    trainer = make_trainer(learning_rate=3e-3, warmup_steps=5)
    trainer.run(Budget(120))
    losses = [entry["loss"] for entry in trainer.history]
    assert trainer.step == 120
    assert losses[-1] < 0.7 * losses[0]


def test_resumed_training_ends_with_the_same_bits(tmp_path):
    straight = make_trainer()
    straight.run(Budget(10))
    make_trainer(checkpoint_dir=tmp_path).run(Budget(4))
    resumed = make_trainer(checkpoint_dir=tmp_path)
    assert resumed.resume()
    assert resumed.step == 4
    resumed.run(Budget(10))
    assert torch.equal(weights_of(resumed), weights_of(straight))


def test_interrupted_training_leaves_a_checkpoint(tmp_path, monkeypatch):
    trainer = make_trainer(checkpoint_dir=tmp_path)
    one_step = trainer._one_step

    def interrupted():
        if trainer.step == 3:
            raise KeyboardInterrupt
        return one_step()

    monkeypatch.setattr(trainer, "_one_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(Budget(10))
    resumed = make_trainer(checkpoint_dir=tmp_path)
    assert resumed.resume()
    resumed.run(Budget(10))
    straight = make_trainer()
    straight.run(Budget(10))
    assert torch.equal(weights_of(resumed), weights_of(straight))


def test_checkpoint_of_another_training_is_refused(tmp_path):
    make_trainer(checkpoint_dir=tmp_path, description={"n_frames": 3}).run(Budget(1))
    other = make_trainer(checkpoint_dir=tmp_path, description={"n_frames": 4})
    with pytest.raises(ValueError, match=r"another\s+training \(n_frames: 3 there, 4 here\)"):
        other.resume()


def test_nothing_to_resume(tmp_path):
    assert not make_trainer(checkpoint_dir=tmp_path).resume()


def test_time_budget():
    trainer = make_trainer()
    trainer.run(Budget(10**9, max_seconds=0.5))
    assert 0 < trainer.step < 10**4
    assert 0.5 <= trainer.seconds < 5


def test_a_bad_step_is_skipped_and_counted(monkeypatch):
    trainer = make_trainer()
    # An infinite latent would count as missing; a huge one overflows.
    monkeypatch.setattr(
        trainer.objective, "encode", lambda rain: rain + (1e38 if trainer.step == 2 else 0.0)
    )
    trainer.run(Budget(5))
    assert trainer.skipped_steps == 1
    assert torch.isfinite(weights_of(trainer)).all()


def test_many_bad_steps_end_the_training(monkeypatch):
    trainer = make_trainer()
    monkeypatch.setattr(trainer.objective, "encode", lambda rain: rain + 1e38)
    with pytest.raises(FloatingPointError, match="20 steps in a row"):
        trainer.run(Budget(100))


def test_missing_cells_teach_nothing():
    """The loss and its gradient do not depend on what the network says where rain is missing."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 3, 4, 4, generator=generator)
    latent[0, :, :2] = torch.nan
    latent[1] = torch.nan
    noise = torch.randn(latent.shape, generator=generator)
    offset = torch.zeros_like(latent, requires_grad=True)
    loss = masked_v_loss(lambda z, log_snr: offset, latent, torch.tensor([0.0, 1.0]), noise)
    assert loss[1] == 0
    loss.sum().backward()
    assert torch.equal(offset.grad != 0, torch.isfinite(latent))
