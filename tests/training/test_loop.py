import math
import pickle
import signal
import threading

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.training import Budget, HeldOut, masked_v_loss, recover_checkpoint


def resumes_to_the_bit(make_trainer, weights_of, folder, after, steps):
    """What a training left goes on after a step, and ends as one that nobody disturbed."""
    resumed = make_trainer(checkpoint_dir=folder)
    assert resumed.resume()
    assert resumed.step == after
    resumed.run(Budget(steps))
    straight = make_trainer()
    straight.run(Budget(steps))
    assert torch.equal(weights_of(resumed), weights_of(straight))


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
    resumes_to_the_bit(make_trainer, weights_of, tmp_path, after=4, steps=10)


@pytest.mark.parametrize("place", ["before", "after"])
def test_ctrl_c_in_the_middle_of_a_step_comes_after_it(
    tmp_path, monkeypatch, make_trainer, weights_of, place
):
    """Weights of one step beside averages of another are nothing to go on from."""
    trainer = make_trainer(checkpoint_dir=tmp_path)
    average = trainer.state.average.update

    def struck(network, step):
        if step == 3 and place == "before":
            signal.raise_signal(signal.SIGINT)
        average(network, step)
        if step == 3 and place == "after":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(trainer.state.average, "update", struck)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(Budget(5))
    assert signal.getsignal(signal.SIGINT) == before
    resumes_to_the_bit(make_trainer, weights_of, tmp_path, after=3, steps=5)


@pytest.mark.parametrize("part", ["optimizer", "average"])
def test_an_error_in_the_middle_of_a_step_leaves_the_last_checkpoint(
    tmp_path, monkeypatch, make_trainer, weights_of, part
):
    trainer = make_trainer(checkpoint_dir=tmp_path, checkpoint_seconds=0)
    owner, name = {
        "optimizer": (trainer.state.optimizer, "step"),
        "average": (trainer.state.average, "update"),
    }[part]
    whole = getattr(owner, name)

    def half(*arguments):
        whole(*arguments)
        if trainer.step == 3:
            raise MemoryError("no room")

    monkeypatch.setattr(owner, name, half)
    with pytest.raises(MemoryError, match="no room"):
        trainer.run(Budget(5))
    resumes_to_the_bit(make_trainer, weights_of, tmp_path, after=2, steps=5)


def test_trains_where_gradients_are_off(make_trainer, weights_of):
    one, other = make_trainer(), make_trainer()
    one.run(Budget(1))
    with torch.no_grad():
        other.run(Budget(1))
    assert torch.equal(weights_of(one), weights_of(other))


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
    before, take_step = [], trainer.state.update
    monkeypatch.setattr(
        trainer.state, "update", lambda: (take_step(), before.append(weights_of(trainer)))
    )
    with pytest.warns(RuntimeWarning, match="1 of 5 training steps were skipped"):
        trainer.run(Budget(5))
    assert trainer.skipped_steps == 1
    # Four steps were taken, and the last of them is what the training ends with.
    assert len(before) == 4
    assert torch.equal(weights_of(trainer), before[-1])
    assert torch.isfinite(weights_of(trainer)).all()


def test_many_bad_steps_end_the_training(monkeypatch, make_trainer):
    trainer = make_trainer()
    monkeypatch.setattr(trainer.state.objective, "encode", lambda rain: rain + 1e38)
    with pytest.raises(FloatingPointError, match="20 steps in a row"):
        trainer.run(Budget(100))


@pytest.mark.parametrize("steps", [2, 10])
def test_a_training_that_diverges_hands_out_nothing(steps, tmp_path, make_trainer):
    """Too few steps for 20 bad ones in a row, and weights that are finite and good for nothing."""
    trainer = make_trainer(learning_rate=1e6, checkpoint_dir=tmp_path, average_snapshots=True)
    message = r"diverged after .* learning_rate=1000000\.0 or weight_decay=0\.01"
    with pytest.raises(FloatingPointError, match=message):
        trainer.run(Budget(steps))
    assert trainer.skipped_steps < 20
    with pytest.raises(FloatingPointError, match=message):
        _ = trainer.averaged
    assert recover_checkpoint(tmp_path) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_written(value, tmp_path, make_trainer):
    trainer = make_trainer(checkpoint_dir=tmp_path)
    trainer.run(Budget(2))
    with torch.no_grad():
        next(trainer.state.average.network.parameters()).view(-1)[0] = value
    for hand_out in (trainer.save, lambda: trainer.averaged, lambda: trainer.run(Budget(3))):
        with pytest.raises(FloatingPointError, match=r"learning_rate=0\.001 or weight_decay"):
            hand_out()
    assert recover_checkpoint(tmp_path)[1]["step"] == 2


def test_data_are_not_pickled_with_a_trainer(make_trainer, weights_of):
    rain = np.random.default_rng(1).gamma(0.3, 1.0, (60, 48, 48)).astype(np.float32)
    held_out = HeldOut(validate_cube(rain), 3, (48, 48), TruncatedCosineSchedule(), 16, seed=0)
    trainer = make_trainer(held_out=held_out)
    trainer.run(Budget(1))
    content = pickle.dumps(trainer)
    # 64 windows of 3 frames are held, in float32.
    assert len(content) < 64 * 3 * 48 * 48 * 4 / 2
    again = pickle.loads(content)
    assert again.held_out is None
    assert trainer.held_out is held_out
    again.windows.read_from(trainer.windows.reader.cube)
    for one in (trainer, again):
        one.run(Budget(3))
    assert torch.equal(weights_of(again), weights_of(trainer))


def test_a_pickled_trainer_asks_for_its_data(tmp_path, make_trainer):
    trainer = make_trainer()
    trainer.run(Budget(1))
    again = pickle.loads(pickle.dumps(trainer))
    again.log_dir = tmp_path / "log"
    with pytest.raises(RuntimeError, match=r"call windows\.read_from\(cube\)"):
        again.run(Budget(2))
    # Refused before anything is begun.
    assert not again.log_dir.exists()
    again.windows.read_from(trainer.windows.reader.cube)
    again.run(Budget(2))
    assert again.step == 2


def test_there_is_no_checkpoint_without_a_folder(make_trainer):
    trainer = make_trainer()
    assert not trainer.resume()
    with pytest.raises(ValueError, match="checkpoint_dir=None"):
        trainer.save()


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
