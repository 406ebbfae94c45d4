"""Devices without double precision, such as Apple's: a stand-in refuses what they refuse.

Tensors on the stand-in are of a class of their own, say that they are on "mps", and lie in ordinary
memory. Every function of torch that Python calls goes by: one that makes float64 of them, or mixes
them with tensors of the CPU, fails as on a Mac.
"""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from skdiffuse import PrecipDiffusion, make_precipitation
from skdiffuse.networks.video_unet import PRESETS

MPS = torch.device("mps")
DEVICE, IS_CPU = torch.Tensor.device.__get__, torch.Tensor.is_cpu.__get__


class OnDevice(torch.Tensor):
    """A tensor that lies on the stand-in."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def plain(value):
    if isinstance(value, OnDevice):
        return value.as_subclass(torch.Tensor)
    if isinstance(value, (list, tuple)):
        made = [plain(each) for each in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def placed(value):
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        # What is changed in place is the same as before.
        return value if isinstance(value, OnDevice) else value.as_subclass(OnDevice)
    if isinstance(value, (list, tuple)):
        made = [placed(each) for each in value]
        # Named tuples of torch, such as that of max, take a list.
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each)


def is_mps(device):
    try:
        return device is not None and torch.device(device).type == "mps"
    except (TypeError, RuntimeError):
        return False


class StandIn(TorchFunctionMode):
    """Torch, as if a device were there that cannot do float64."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", str(function))
        given = list(tensors([args, kwargs]))
        here = [each for each in given if isinstance(each, OnDevice)]
        if function == DEVICE:
            return MPS if here else function(*args)
        if function == IS_CPU:
            return not here
        if function in (torch.Tensor.cpu, torch.Tensor.numpy) and here:
            assert function is torch.Tensor.cpu, "can't convert mps:0 device type tensor to numpy"
            return plain(args[0])
        if name == "to" or (name == "_to" and here):
            return self._moved(function, args, kwargs)
        if name == "_has_compatible_shallow_copy_type":
            return all(isinstance(each, OnDevice) for each in given)
        if is_mps(kwargs.get("device")):
            kwargs["device"] = torch.device("cpu")
            return placed(function(*args, **kwargs))
        if not here:
            return function(*args, **kwargs)
        if str(kwargs.get("device", "")) == "cpu":
            return plain(function(*args, **kwargs))
        self.calls += 1
        if name not in ("__get__", "__set__", "copy_", "__setitem__", "swap_tensors"):
            strangers = [t for t in given if not isinstance(t, OnDevice) and t.ndim]
            assert not strangers, f"{name}: Expected all tensors to be on the same device"
        return placed(function(*args, **kwargs))

    def _moved(self, function, args, kwargs):
        tensor, *rest = args
        target = kwargs.get(
            "device", next((a for a in rest if isinstance(a, (str, torch.device))), None)
        )
        like = next((a for a in rest if isinstance(a, torch.Tensor)), kwargs.get("other"))
        dtype = kwargs.get("dtype", next((a for a in rest if isinstance(a, torch.dtype)), None))
        if like is not None:
            target, dtype = (MPS if isinstance(like, OnDevice) else torch.device("cpu")), like.dtype
        there = isinstance(tensor, OnDevice) if target is None else is_mps(target)
        found = plain(tensor)
        if dtype is not None and dtype != found.dtype:
            found = function(found, dtype)
        elif kwargs.get("copy"):
            found = found.clone()
        return placed(found) if there else found


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", {"width": 8, "multipliers": (1,)})
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    with StandIn() as mode:
        yield mode
    torch.__future__.set_swap_module_params_on_conversion(before)


def test_the_stand_in_refuses_what_a_mac_refuses(stand_in):
    x = torch.ones(3, device="mps")
    assert x.device == MPS and (2 * x).device == MPS
    assert x.cpu().device.type == "cpu"
    assert torch.zeros(2, dtype=torch.float64).to(MPS, torch.float32).device == MPS
    for wrong in (
        lambda: x.double(),
        lambda: torch.zeros(1, dtype=torch.float64, device="mps"),
        lambda: torch.zeros(2, dtype=torch.float64).to("mps"),
    ):
        with pytest.raises(TypeError, match="float64"):
            wrong()
    with pytest.raises(AssertionError, match="same device"):
        x + torch.ones(3)


RAIN = make_precipitation(12, (8, 8), random_state=0)


def everything(device, transformer, amortised, y):
    model = PrecipDiffusion(
        transformer,
        n_frames=2,
        max_steps=2,
        random_state=0,
        verbose=False,
        device=device,
        amortised=amortised,
        batch_size=4,
    ).fit(RAIN, y)
    model.set_params(sampler__n_steps=3)
    gappy = RAIN[:4].where((RAIN.x != RAIN.x[2]) | (RAIN.y != RAIN.y[3]))
    method = "amortised" if amortised else None
    return [
        model.sample(2),
        model.sample(1, storm={"mean": 0.3}),
        model.impute(gappy, method=method),
        model.forecast(RAIN[:2], 1, method=method),
        np.array([model.score(RAIN), model.denoising_loss(RAIN)]),
        # Larger than the windows that the mixture was fitted to.
        model.sample(1, shape=(10, 12)),
    ]


@pytest.mark.parametrize(
    ("transformer", "amortised", "told"),
    [("sqrt", False, False), ("log", True, True)],
)
def test_every_verb(stand_in, transformer, amortised, told):
    y = (0.5 * RAIN.values + 1) if told else None
    found = everything("mps", transformer, amortised, y)
    assert stand_in.calls > 1000
    expected = everything("cpu", transformer, amortised, y)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_device_that_is_not_there_is_refused():
    if torch.backends.mps.is_available():
        pytest.skip("this is a Mac")
    with pytest.raises(ValueError, match=r"device='mps' cannot be used here .* device='cpu'"):
        PrecipDiffusion(n_frames=2, device="mps", verbose=False).fit(RAIN)
