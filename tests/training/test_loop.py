import signal
import threading

import pytest
import torch

from skdiffuse.training import Budget, masked_v_loss


def test_loss_falls(make_trainer):
    trainer = make_trainer(learning_rate=3e-3, warmup_steps=5)
    trainer.run(Budget(120))
    losses = [entry["loss"] for entry in trainer.history]
    assert trainer.step == 120
    assert losses[-1] < 0.7 * losses[0]


def test_resumed_training_ends_with_the_same_bits(tmp_path, make_trainer, weights_of):
    straight = make_trainer()
    straight.run(Budget(10))
    make_trainer(checkpoint_dir=tmp_path).run(Budget(4))
    resumed = make_trainer(checkpoint_dir=tmp_path)
    assert resumed.resume()
    assert resumed.step == 4
    resumed.run(Budget(10))
    assert torch.equal(weights_of(resumed), weights_of(straight))


def test_interrupted_training_leaves_a_checkpoint(tmp_path, monkeypatch, make_trainer, weights_of):
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


def test_sigterm_ends_after_a_checkpoint(tmp_path, monkeypatch, make_trainer, weights_of):
    trainer = make_trainer(checkpoint_dir=tmp_path)
    one_step = trainer._one_step

    def told():
        if trainer.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return one_step()

    monkeypatch.setattr(trainer, "_one_step", told)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        trainer.run(Budget(10))
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = make_trainer(checkpoint_dir=tmp_path)
    assert resumed.resume()
    assert resumed.step == 4
    resumed.run(Budget(10))
    straight = make_trainer()
    straight.run(Budget(10))
    assert torch.equal(weights_of(resumed), weights_of(straight))


def test_trains_in_a_thread_which_has_no_signals(make_trainer):
    trainer = make_trainer()
    thread = threading.Thread(target=trainer.run, args=(Budget(2),))
    thread.start()
    thread.join()
    assert trainer.step == 2


def test_checkpoint_of_another_training_is_refused(tmp_path, make_trainer):
    make_trainer(checkpoint_dir=tmp_path, description={"n_frames": 3}).run(Budget(1))
    other = make_trainer(checkpoint_dir=tmp_path, description={"n_frames": 4})
    with pytest.raises(ValueError, match=r"another\s+training \(n_frames: 3 there, 4 here\)"):
        other.resume()


def test_nothing_to_resume(tmp_path, make_trainer):
    assert not make_trainer(checkpoint_dir=tmp_path).resume()


def test_time_budget(make_trainer):
    trainer = make_trainer()
    trainer.run(Budget(10**9, max_seconds=0.5))
    assert 0 < trainer.step < 10**4
    assert 0.5 <= trainer.seconds < 5


def test_a_bad_step_is_skipped_and_counted(monkeypatch, make_trainer, weights_of):
    trainer = make_trainer()
    # An infinite latent would count as missing; a huge one overflows.
    monkeypatch.setattr(
        trainer.state.objective, "encode", lambda rain: rain + (1e38 if trainer.step == 2 else 0.0)
    )
    with pytest.warns(RuntimeWarning, match="1 of 5 training steps were skipped"):
        trainer.run(Budget(5))
    assert trainer.skipped_steps == 1
    assert torch.isfinite(weights_of(trainer)).all()


def test_many_bad_steps_end_the_training(monkeypatch, make_trainer):
    trainer = make_trainer()
    monkeypatch.setattr(trainer.state.objective, "encode", lambda rain: rain + 1e38)
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
