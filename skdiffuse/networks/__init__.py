"""Networks that denoise sequences of fields."""

from skdiffuse.networks.video_unet import PRESETS, VideoUNet, build_network

__all__ = ["PRESETS", "VideoUNet", "build_network"]
