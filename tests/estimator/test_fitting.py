"""What fit does besides training: validation, callbacks, resuming, symmetries."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.callback import ProgressBar

from skdiffuse import (
    KeepingSettings,
    NetworkSettings,
    PrecipDiffusion,
    SamplerSettings,
    TrainingSettings,
)
from skdiffuse.datasets import make_precipitation
from skdiffuse.estimator.parameters import device_of
from skdiffuse.training import PowerAverage, loop

pytestmark = pytest.mark.usefixtures("global_generators_stay_untouched")

OPTIONS = {
    "n_frames": 2,
    "max_steps": 3,
    "sampler": SamplerSettings(n_steps=3),
    "random_state": 0,
    "verbose": False,
}


@pytest.fixture(scope="module")
def cube():
    return make_precipitation(24, (8, 8), random_state=0)


class Recorder:
    """A callback that takes note, and stops after some epochs."""

    def __init__(self, stop_after=10**9):
        self.stop_after = stop_after
        self.models = []
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.models.append(fitted_estimator)
        return len(self.models) >= self.stop_after


def test_callbacks_of_scikit_learn(cube):
    recorder = Recorder(stop_after=2)
    model = PrecipDiffusion(**{**OPTIONS, "batch_size": 6, "max_steps": 100})
    model.set_callbacks(recorder).fit(cube)
    assert recorder.events == [
        *("setup", "begin fit", "begin epoch", "end epoch", "begin epoch", "end epoch"),
        *("end fit", "teardown"),
    ]
    per_epoch = 24 // (2 * 6)
    assert [m.n_iter_ for m in recorder.models] == [per_epoch, 2 * per_epoch, 2 * per_epoch]
    assert model.n_iter_ == 2 * per_epoch
    # What a callback was given is a model of its own, as it was at the time.
    np.testing.assert_array_equal(recorder.models[1].sample(1), model.sample(1))
    assert (recorder.models[0].sample(1) != model.sample(1)).any()


def test_progress_bar_of_scikit_learn(cube):
    pytest.importorskip("rich")
    PrecipDiffusion(**OPTIONS).set_callbacks(ProgressBar()).fit(cube)


def test_end_of_the_series_is_validated_on(cube):
    model = PrecipDiffusion(**OPTIONS, training=TrainingSettings(validation_fraction=0.25)).fit(
        cube
    )
    same = PrecipDiffusion(**OPTIONS).fit(cube[:16], validation=cube[18:])
    entry = model.history_[-1]
    assert entry["validation_loss"] > 0
    assert entry["validation_by_log_snr"] == same.history_[-1]["validation_by_log_snr"]
    assert entry["validation_over_skip"] == same.history_[-1]["validation_over_skip"]
    np.testing.assert_array_equal(model.sample(1), same.sample(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training__patience": 2}, "patience=2 needs rain to validate on"),
        ({"training__validation_fraction": 0.99}, "leaves no window"),
        ({"training__precision": "float8"}, "precision='float8'"),
        ({"training__learning_rate_schedule": "linear"}, "learning_rate_schedule='linear'"),
        ({"training__accumulation": 0}, "accumulation"),
        ({"training__weight_decay": -1}, "weight_decay"),
        ({"network__geography": True, "training__symmetries": True}, "mirrors the places"),
    ],
)
def test_parameters_out_of_range(cube, options, message):
    with pytest.raises(ValueError, match=message):
        PrecipDiffusion(**OPTIONS).set_params(**options).fit(cube)


def test_symmetries_switch_geography_off(cube):
    model = PrecipDiffusion(**OPTIONS, training=TrainingSettings(symmetries=True)).fit(cube)
    assert model.model_.plan.field_shape is None


def test_resuming_without_a_seed_goes_on_with_the_seed_of_the_start(cube, tmp_path):
    options = {**OPTIONS, "random_state": None, "checkpoint_dir": tmp_path, "warm_start": True}
    first = PrecipDiffusion("learnt", **{**options, "max_steps": 2}).fit(cube)
    resumed = PrecipDiffusion("learnt", **options).fit(cube)
    first.set_params(max_steps=3).fit(cube)
    for a, b in zip(first.network_.parameters(), resumed.network_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resuming_with_other_data_is_refused(cube, tmp_path):
    options = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
    PrecipDiffusion(**options).fit(cube)
    with pytest.raises(ValueError, match=r"another\s+training \(data: "):
        PrecipDiffusion(**options).fit(cube * 2)


def test_damaged_checkpoint_is_passed_over_for_the_one_before(cube, tmp_path):
    options = {**OPTIONS, "checkpoint_dir": tmp_path, "warm_start": True}
    PrecipDiffusion(**{**options, "max_steps": 1}).fit(cube)
    PrecipDiffusion(**{**options, "max_steps": 2}).fit(cube)
    newest = max(tmp_path.iterdir())
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged: its checksum"):
        resumed = PrecipDiffusion(**options).fit(cube)
    np.testing.assert_array_equal(resumed.sample(1), PrecipDiffusion(**OPTIONS).fit(cube).sample(1))


def test_another_average_after_training(cube, tmp_path, monkeypatch):
    """Against the average that was tracked along."""
    tracked = []
    update = PowerAverage.update

    def also(self, network, step):
        if step == 1 and not tracked:
            tracked.append(None)
            tracked[0] = PowerAverage(network, 0.2)
        if self.gamma == PowerAverage(torch.nn.Identity(), 0.1).gamma and len(seen) < step:
            seen.append(step)
            update(tracked[0], network, step)
        update(self, network, step)

    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(PowerAverage, "update", also)
        options = {
            **OPTIONS,
            "max_steps": 20,
            "batch_size": 2,
            "training": TrainingSettings(learning_rate=1e-2),
        }
        model = PrecipDiffusion(
            "learnt",
            **options,
            checkpoint_dir=tmp_path,
            keeping=KeepingSettings(average_snapshots=True),
        ).fit(cube)
    before = torch.cat([p.flatten() for p in model.network_.parameters()])
    curve = model.transformer_.raw1_.copy()
    model.reaverage(0.2)
    after = torch.cat([p.flatten() for p in model.network_.parameters()])
    expected = torch.cat([p.flatten() for p in tracked[0].network.network.parameters()])
    assert (after - expected).norm() < 0.1 * (before - expected).norm()
    assert (model.transformer_.raw1_ != curve).any()
    with pytest.raises(FileNotFoundError, match="average_snapshots=True"):
        PrecipDiffusion(**OPTIONS).fit(cube).reaverage(0.2)


def test_lazy_cube_larger_than_memory(cube, monkeypatch):
    """Statistics, spectrum and training by blocks; the same order again."""
    pytest.importorskip("dask")
    from skdiffuse.training import batches

    monkeypatch.setattr(batches, "MEMORY", 2000)
    lazy = cube.chunk({"time": 4})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again = (PrecipDiffusion(**OPTIONS).fit(lazy) for _ in range(2))
    assert first._preparation.trainer.windows.reader.groups_per_epoch > 1
    np.testing.assert_array_equal(first.sample(1), again.sample(1))


def test_a_periodic_model_has_no_seam(cube, tmp_path):
    """Rolled by what keeps the grids of all levels, the network's answer comes out rolled."""
    options = OPTIONS | {"network": NetworkSettings(geography=False, edges=("zero", "periodic"))}
    model = PrecipDiffusion(**options).fit(cube)
    model.save(tmp_path / "model.safetensors")
    loaded = PrecipDiffusion.load(tmp_path / "model.safetensors")
    z = torch.randn(1, 2, 8, 16, generator=torch.Generator().manual_seed(0))
    log_snr = torch.tensor(0.3)
    v = loaded.network_(z, log_snr)
    assert torch.equal(v, model.network_(z, log_snr))
    rolled = loaded.network_(z.roll(8, -1), log_snr).roll(-8, -1)
    torch.testing.assert_close(rolled, v, rtol=1e-4, atol=1e-5)
    seamed = (
        PrecipDiffusion(**options | {"network": NetworkSettings(geography=False)})
        .fit(cube)
        .network_
    )
    rolled = seamed(z.roll(8, -1), log_snr).roll(-8, -1)
    assert not torch.allclose(rolled, seamed(z, log_snr), rtol=1e-2, atol=1e-2)
    assert model.sample(1).shape == (1, 2, 8, 8)


def test_edges_are_checked(cube, tmp_path):
    with pytest.raises(ValueError, match=r"edges='round' must be one of"):
        PrecipDiffusion(**OPTIONS, network=NetworkSettings(edges="round")).fit(cube)
    with pytest.raises(ValueError, match="crop_size to at least 8"):
        PrecipDiffusion(**OPTIONS, network=NetworkSettings(edges="periodic"), crop_size=4).fit(cube)
    kept = OPTIONS | {"checkpoint_dir": tmp_path, "warm_start": True}
    PrecipDiffusion(**kept).fit(cube)
    with pytest.raises(ValueError, match="edges: 'zero' there, 'reflect' here"):
        PrecipDiffusion(**kept, network=NetworkSettings(edges="reflect")).fit(cube)


def test_gradient_checkpointing_changes_nothing_but_memory(cube):
    plain = PrecipDiffusion(**OPTIONS).fit(cube)
    frugal = PrecipDiffusion(**OPTIONS, network=NetworkSettings(gradient_checkpointing=True)).fit(
        cube
    )
    assert frugal.network_.network.gradient_checkpointing
    for a, b in zip(plain.network_.parameters(), frugal.network_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_processes_of_torchrun_take_a_gpu_each(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == torch.device("cuda")
    variables = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert device_of("auto") == torch.device("cuda", 1)
    assert device_of("cuda") == torch.device("cuda", 1)
    assert device_of("cuda:3") == torch.device("cuda", 3)
    assert device_of("cpu") == torch.device("cpu")


def test_a_network_is_compiled_once_for_what_it_is_told(cube, monkeypatch):
    """A compiler that is tried out with other arguments may fail where nothing catches it."""
    graphs = []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    compile_it = loop.compile_network
    monkeypatch.setattr(loop, "compile_network", partial(compile_it, backend=backend))
    tried = []

    def after_trial(trainer, *batch):
        compiled(trainer, *batch)
        tried.append(len(graphs))

    compiled = loop.Trainer._compile
    monkeypatch.setattr(loop.Trainer, "_compile", after_trial)
    seasons = np.arange(24) % 2
    options = OPTIONS | {
        "amortised": True,
        "training": TrainingSettings(precision="bfloat16", compile=True),
    }
    torch.compiler.reset()
    PrecipDiffusion(**options).fit(cube, seasons)
    assert tried == [len(graphs)]
    assert graphs
