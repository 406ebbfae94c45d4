"""Networks of other packages, driven by ``(z, log_snr) -> v_hat`` with z of (n, frames, y, x).

Each entry of `PEERS` maps a name to ``make(n_parameters)``: the package's network with
its own defaults, three resolutions (channels 1-2-4, two blocks each where the package lets one
choose), and the width whose number of parameters is nearest to the one asked for. None of them is
given anything that ours is not; the noise level comes in the units that each expects.
"""

import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

__all__ = ["PEERS", "count"]

N_FRAMES, SIDE = 8, 32


def count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _nearest(make: Callable, widths: Iterable, n_parameters: int) -> nn.Module:
    """The network of the width whose size is nearest; sizes are counted without memory."""

    def distance(width: int | tuple[int, ...]) -> int:
        with torch.device("meta"):
            return abs(count(make(width)) - n_parameters)

    return make(min(widths, key=distance))


def _timestep(log_snr: Tensor, n: int) -> Tensor:
    """Noise level from 0 to 1000, high where noise is, as networks of discrete times expect it."""
    return ((20 - log_snr) * 25).clamp(0, 1000).to(torch.float32).reshape(-1).expand(n)


class _Adapter(nn.Module):
    """Puts frames where the network expects them and calls it."""

    def __init__(self, network: nn.Module, call: Callable) -> None:
        super().__init__()
        self.network = network
        self.call = call

    def forward(self, z: Tensor, log_snr: Tensor) -> Tensor:
        return self.call(self.network, z, log_snr)


def _video_diffusion_pytorch(n_parameters: int) -> nn.Module:
    _stub_torchvision()
    from video_diffusion_pytorch import Unet3D

    return _Adapter(
        _nearest(
            lambda width: Unet3D(dim=width, channels=1, dim_mults=(1, 2, 4)),
            range(16, 72, 4),
            n_parameters,
        ),
        lambda network, z, log_snr: network(z[:, None], _timestep(log_snr, len(z)))[:, 0],
    )


def _karras_unet_3d(n_parameters: int) -> nn.Module:
    _stub_torchvision()
    from denoising_diffusion_pytorch import KarrasUnet3D

    def make(width: int) -> nn.Module:
        return KarrasUnet3D(
            image_size=SIDE,
            frames=N_FRAMES,
            dim=width,
            dim_max=4 * width,
            channels=1,
            num_downsamples=2,
            num_blocks_per_stage=1,
            downsample_types=("image", "image"),
            attn_res=(8,),
            attn_dim_head=32,
            dropout=0.0,
            factorize_space_time_attn=True,
        )

    def call(network: nn.Module, z: Tensor, log_snr: Tensor) -> Tensor:
        # c_noise of the paper: log(sigma / alpha) / 4.
        time = (-log_snr / 8).to(z.dtype).reshape(-1).expand(len(z))
        return network(z[:, None], time)[:, 0]

    return _Adapter(_nearest(make, range(8, 80, 4), n_parameters), call)


def _diffusers_unet_3d(n_parameters: int) -> nn.Module:
    _stub_torchvision()
    from diffusers import UNet3DConditionModel

    def make(width: int) -> nn.Module:
        return UNet3DConditionModel(
            sample_size=SIDE,
            in_channels=1,
            out_channels=1,
            down_block_types=("DownBlock3D", "DownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "UpBlock3D", "UpBlock3D"),
            block_out_channels=(width, 2 * width, 4 * width),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=8,
            attention_head_dim=8,
        )

    def call(network: nn.Module, z: Tensor, log_snr: Tensor) -> Tensor:
        nothing = z.new_zeros(len(z), 1, 8)
        return network(z[:, None], _timestep(log_snr, len(z)), nothing).sample[:, 0]

    return _Adapter(_nearest(make, range(8, 80, 8), n_parameters), call)


# Its norms have 32 groups, so that channels come in multiples of 32 and 1-2-4 has few sizes.
WIDTHS_OF_32 = [(a, b, c) for a in (32, 64) for b in (64, 96, 128) for c in (128, 160, 192, 256)]


def _diffusers_spatio_temporal(n_parameters: int) -> nn.Module:
    _stub_torchvision()
    from diffusers import UNetSpatioTemporalConditionModel

    def make(widths: tuple[int, ...]) -> nn.Module:
        return UNetSpatioTemporalConditionModel(
            sample_size=SIDE,
            in_channels=1,
            out_channels=1,
            down_block_types=("DownBlockSpatioTemporal",) * 3,
            up_block_types=("UpBlockSpatioTemporal",) * 3,
            block_out_channels=widths,
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            layers_per_block=1,
            cross_attention_dim=8,
            num_attention_heads=(1, 2, 4),
            num_frames=N_FRAMES,
        )

    def call(network: nn.Module, z: Tensor, log_snr: Tensor) -> Tensor:
        n = len(z)
        nothing, ids = z.new_zeros(n, 1, 8), z.new_zeros(n, 3)
        return network(z[:, :, None], _timestep(log_snr, n), nothing, ids).sample[:, :, 0]

    return _Adapter(_nearest(make, WIDTHS_OF_32, n_parameters), call)


class _Azula(nn.Module):
    """azula's U-Net with its embedding of the noise level, as in its own denoisers."""

    def __init__(self, width: int, kernel_size: tuple[int, int, int]) -> None:
        super().__init__()
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet

        self.embed = nn.Sequential(
            SineEncoding(128), nn.Linear(128, 256), nn.SiLU(), nn.Linear(256, 256)
        )
        self.unet = UNet(
            1,
            1,
            hid_channels=(width, 2 * width, 4 * width),
            hid_blocks=(1, 1, 1),
            kernel_size=kernel_size,
            stride=(1, 2, 2),
            spatial=3,
            mod_features=256,
        )

    def forward(self, z: Tensor, log_snr: Tensor) -> Tensor:
        mod = self.embed(log_snr.to(z.dtype).reshape(-1).expand(len(z)))
        return self.unet(z[:, None], mod)[:, 0]


def _azula(n_parameters: int) -> nn.Module:
    return _nearest(lambda width: _Azula(width, (3, 3, 3)), range(8, 96, 4), n_parameters)


PEERS: dict[str, Callable[[int], nn.Module]] = {
    "video-diffusion-pytorch Unet3D": _video_diffusion_pytorch,
    "denoising-diffusion-pytorch KarrasUnet3D": _karras_unet_3d,
    "diffusers UNet3DConditionModel": _diffusers_unet_3d,
    "diffusers UNetSpatioTemporalConditionModel": _diffusers_spatio_temporal,
    "azula UNet, 3-D": _azula,
}


def _stub_torchvision() -> None:
    """The peers import torchvision, where it is installed, for pictures: nothing here needs it."""
    try:
        import torchvision  # noqa: F401
    except Exception:
        for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.transforms", "torchvision.utils"):
            sys.modules[name] = MagicMock(__spec__=ModuleSpec(name, None))
