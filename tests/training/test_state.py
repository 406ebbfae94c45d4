"""What a training can be, and that each of it can be stopped and gone on with."""

import csv
import pickle

import numpy as np
import pytest
import torch

from skdiffuse.cubes import validate_cube
from skdiffuse.diffusion import TruncatedCosineSchedule
from skdiffuse.networks import build_network, fit_mixture
from skdiffuse.training import (
    Budget,
    HeldOut,
    TrainingObjective,
    hold_out,
    read_tensors,
    recover_checkpoint,
)
from skdiffuse.training import loop as loop_module
from skdiffuse.training.precision import LossScale, resolve_precision


@pytest.fixture
def held_out():
    rain = np.random.default_rng(1).gamma(0.3, 1.0, (9, 8, 8))
    return HeldOut(validate_cube(rain), 3, (8, 8), TruncatedCosineSchedule(), 16, seed=0)


def test_parts_of_a_batch_give_the_same_result(make_trainer, weights_of):
    whole, parts = make_trainer(), make_trainer(parts=3)
    for trainer in (whole, parts):
        trainer.run(Budget(3))
    torch.testing.assert_close(weights_of(parts), weights_of(whole), rtol=1e-4, atol=1e-6)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


@pytest.mark.parametrize(("schedule", "expected"), [("constant", 1.0), ("cosine", 0.5)])
def test_learning_rate(schedule, expected, make_trainer, monkeypatch):
    monkeypatch.setattr(loop_module, "LOG_EVERY", 1)
    trainer = make_trainer(rate_schedule=schedule, warmup_steps=2, learning_rate=1e-3)
    trainer.run(Budget(100))
    rates = [1e3 * entry["learning_rate"] for entry in trainer.history]
    assert rates[0] == pytest.approx(0.5, rel=0.01)
    assert rates[50] == pytest.approx(expected)
    assert rates[99] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=1e-3)


def test_everything_resumes_to_the_bit(tmp_path, held_out, monkeypatch, make_trainer):
    """Cosine rate, parts, early stopping, snapshots and validation included."""
    monkeypatch.setattr(loop_module, "LEAST_STEPS_BETWEEN_VALIDATIONS", 2)
    options = {
        "rate_schedule": "cosine",
        "parts": 2,
        "patience": 50,
        "average_snapshots": True,
        "warmup_steps": 2,
        "held_out": held_out,
    }
    straight = make_trainer(checkpoint_dir=tmp_path / "a", **options)
    straight.windows.steps_per_epoch = 2
    straight.run(Budget(9))
    for stop in (3, 7, 9):
        resumed = make_trainer(checkpoint_dir=tmp_path / "b", **options)
        resumed.windows.steps_per_epoch = 2
        assert resumed.resume() == (stop > 3)
        resumed._out_of_patience = lambda r=resumed, stop=stop: r.step >= stop
        resumed.run(Budget(9))
    for one, other in (
        [t.state.objective.state_dict() for t in (straight, resumed)],
        [t.averaged.state_dict() for t in (straight, resumed)],
    ):
        assert all(torch.equal(one[key], other[key]) for key in one)
    names = [sorted(p.name for p in (tmp_path / k).iterdir() if "aver" in p.name) for k in "ab"]
    assert names[0] == names[1]
    assert len(names[0]) == 8
    for name in names[0]:
        one, other = (read_tensors(tmp_path / k / name)[0] for k in "ab")
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_early_stopping_keeps_the_best_weights(held_out, monkeypatch, make_trainer, weights_of):
    monkeypatch.setattr(loop_module, "LEAST_STEPS_BETWEEN_VALIDATIONS", 1)
    trainer = make_trainer(held_out=held_out, patience=2)
    trainer.windows.steps_per_epoch = 1
    losses = iter([3.0, 1.0, 2.0, 2.0, 0.5])
    seen = []

    def loss(objective, device):
        seen.append(weights_of(trainer))
        return next(losses), {}

    monkeypatch.setattr(held_out, "loss", loss)
    trainer.run(Budget(100))
    assert trainer.step == 4
    best = torch.cat([p.flatten() for p in trainer.averaged.state_dict().values()])
    assert torch.equal(best, seen[1])
    assert [entry["validation_loss"] for entry in trainer.history] == [3.0, 1.0, 2.0, 2.0]


def test_validation_loss_is_the_mean_of_its_bands(held_out, make_trainer):
    trainer = make_trainer(held_out=held_out)
    trainer.run(Budget(1))
    entry = trainer.history[-1]
    bands = entry["validation_by_log_snr"]
    assert next(iter(bands)) == "below -8"
    edges = torch.tensor([-8.0, -4.0, 0.0, 4.0], dtype=torch.float64)
    counts = torch.bucketize(held_out._log_snr, edges).bincount()
    weighted = sum(n * b for n, b in zip(counts.tolist(), bands.values(), strict=True))
    assert weighted / counts.sum() == pytest.approx(entry["validation_loss"])
    again = held_out.loss(trainer.averaged, "cpu")
    assert again == (entry["validation_loss"], bands)


@pytest.mark.parametrize("kind", ["mixture", "wiener"])
def test_validation_beside_what_the_network_starts_from(held_out, make_trainer, kind):
    """A network whose output is 0 is its skip, at every noise; one without a skip says nothing."""
    if kind == "wiener":
        network = build_network("tiny", power=torch.rand(3, 8, 8) + 0.1)
    else:
        prior, _ = fit_mixture([torch.randn(64, 3, 8, 8)], [torch.ones(64)], n_classes=3)
        network = build_network("tiny", prior=prior)
    torch.nn.init.zeros_(network.network.head.weight)
    torch.nn.init.zeros_(network.network.head.bias)
    objective = TrainingObjective(network, torch.sqrt)
    _, bands = held_out.loss(objective, "cpu")
    of_skip = held_out.loss_of_skip(objective, "cpu")
    assert of_skip.keys() == bands.keys()
    for name, loss in bands.items():
        assert of_skip[name] == pytest.approx(loss, rel=1e-5)
    trainer = make_trainer(held_out=held_out)
    assert held_out.loss_of_skip(trainer.averaged, "cpu") is None


def test_end_is_held_out_with_a_gap():
    rain = np.arange(100, dtype=float)[:, None, None] * np.ones((1, 4, 4))
    training, validation = hold_out(validate_cube(rain), 0.2, n_frames=5)
    assert training.values[0, -1, 0, 0] == 74
    assert validation.values[0, 0, 0, 0] == 80
    assert len(training.breaks) == training.n_times - 1
    sequences, rest = hold_out(validate_cube(rain.reshape(10, 10, 4, 4)), 0.2, n_frames=5)
    assert (sequences.n_sequences, rest.n_sequences) == (8, 2)
    with pytest.raises(ValueError, match="leaves no window of 5 frames for training"):
        hold_out(validate_cube(rain[:9]), 0.5, n_frames=5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        hold_out(validate_cube(rain), 1.5, n_frames=5)
    with pytest.raises(ValueError, match="validation_fraction='a' must lie between 0 and 1"):
        hold_out(validate_cube(rain), "a", n_frames=5)


def test_low_precision_trains(make_trainer):
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = make_trainer(precision=precision, learning_rate=3e-3, warmup_steps=5)
        trainer.run(Budget(12))
        losses[precision] = trainer.history[-1]["loss"]
        assert all(p.dtype == torch.float32 for p in trainer.state.objective.parameters())
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]
    with pytest.raises(ValueError, match="precision='int8'"):
        resolve_precision("int8", torch.device("cpu"))


def test_loss_scale_falls_on_overflow_and_changes_no_gradient():
    scale = LossScale(used=True)
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    (weight.sum() * 3 * scale.value).backward()
    scale.undo([weight])
    assert weight.grad.item() == 3.0
    for _ in range(20):
        scale.update(finite=False)
    assert scale.value == 1.0
    assert not scale.can_fall
    for _ in range(2000):
        scale.update(finite=True)
    assert scale.value == 2.0


def test_log_files(tmp_path, held_out, make_trainer, monkeypatch):
    monkeypatch.setattr(loop_module, "LOG_EVERY", 4)
    trainer = make_trainer(log_dir=tmp_path, checkpoint_dir=tmp_path / "c", held_out=held_out)
    trainer.run(Budget(5))
    resumed = make_trainer(log_dir=tmp_path, checkpoint_dir=tmp_path / "c", held_out=held_out)
    resumed.resume()
    resumed.run(Budget(9))
    with open(tmp_path / "training.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [4, 5, 8, 9]
    assert float(rows[-1]["validation_loss"]) == resumed.history[-1]["validation_loss"]
    assert rows[0]["validation_loss"] == ""
    assert float(rows[-1]["validation_by_log_snr below -8"]) > 0


def test_tensorboard_shows_the_history_of_a_resumed_training(
    tmp_path, held_out, make_trainer, monkeypatch
):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(loop_module, "LOG_EVERY", 1)
    monkeypatch.setattr(loop_module, "LEAST_STEPS_BETWEEN_VALIDATIONS", 2)
    options = {"checkpoint_dir": tmp_path / "c", "held_out": held_out}
    make_trainer(log_dir=tmp_path, **options).run(Budget(4))
    # Killed after steps that no checkpoint knows of.
    lost = make_trainer(log_dir=tmp_path, **options | {"checkpoint_dir": None})
    lost.resume(recover_checkpoint(tmp_path / "c"))
    lost.run(Budget(6))
    resumed = make_trainer(log_dir=tmp_path, **options)
    resumed.resume()
    resumed.run(Budget(9))
    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    for name in ("loss", "gradient_norm", "learning_rate", "validation_loss"):
        expected = [(e["step"], e[name]) for e in resumed.history if name in e]
        shown = [(e.step, e.value) for e in events.Scalars(name)]
        np.testing.assert_allclose(shown, expected, rtol=1e-6)
    assert "validation_by_log_snr below -8" in events.Tags()["scalars"]


def test_epochs_can_end_the_training(make_trainer):
    seen = []
    trainer = make_trainer()
    trainer.on_epoch = lambda: seen.append(trainer.step) or len(seen) == 3
    trainer.windows.steps_per_epoch = 2
    trainer.run(Budget(100))
    assert seen == [2, 4, 6]
    assert trainer.step == 6


def test_compiled_network_is_compiled_and_kept_as_it_was(make_trainer, weights_of, monkeypatch):
    seen = []

    def compile_network(network, z, log_snr, **told):
        seen.append(z.shape)
        assert not told
        network.compile(backend="eager")

    monkeypatch.setattr(loop_module, "compile_network", compile_network)
    compiled, plain = make_trainer(compiled=True), make_trainer()
    for trainer in (compiled, plain):
        trainer.run(Budget(2))
    assert seen == [(4, 3, 8, 8)]
    torch.testing.assert_close(weights_of(compiled), weights_of(plain), rtol=1e-4, atol=1e-6)
    pickle.loads(pickle.dumps(compiled.averaged))
