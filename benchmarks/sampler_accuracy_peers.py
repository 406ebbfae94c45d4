"""Samplers of diffusers, azula and k-diffusion, run on an exact denoiser ``(z, log_snr) -> x_hat``.

Each entry maps a name to ``run(denoiser, z, n_steps) -> x``, with the package's own schedule, grid
and last step: what its users get. Only deterministic samplers are here, so that the law of their
output follows from unit vectors.
"""

import functools
import importlib
import importlib.util
import sys
import types

import torch


def peers():
    """All samplers of the packages that are installed."""
    return {**_diffusers(), **_azula(), **_k_diffusion()}


def _diffusers():
    try:
        import diffusers
    except ImportError:
        return {}
    linear = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}
    linear["beta_schedule"] = "linear"

    def preserving(scheduler_class, **options):
        """Schedulers whose sample is z, with the noise level in scheduler.sigmas."""

        def run(denoiser, z, n_steps):
            scheduler = scheduler_class(**linear, **options)
            scheduler.set_timesteps(n_steps)
            for i, timestep in enumerate(scheduler.timesteps):
                log_snr = -2 * torch.log(scheduler.sigmas[i].double())
                eps = _eps(denoiser, z, log_snr)
                z = scheduler.step(eps, timestep, z).prev_sample
            return z

        return run

    def exploding(scheduler_class, **options):
        """Schedulers whose sample is z / alpha."""

        def run(denoiser, z, n_steps):
            scheduler = scheduler_class(**linear, **options)
            scheduler.set_timesteps(n_steps)
            y = z * float(scheduler.init_noise_sigma)
            for i, timestep in enumerate(scheduler.timesteps):
                scaled = scheduler.scale_model_input(y, timestep)
                log_snr = -2 * torch.log(scheduler.sigmas[i].double())
                y = scheduler.step(_eps(denoiser, scaled, log_snr), timestep, y).prev_sample
            return y

        return run

    def ddim(denoiser, z, n_steps):
        scheduler = diffusers.DDIMScheduler(
            **linear, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
        )
        scheduler.set_timesteps(n_steps)
        for timestep in scheduler.timesteps:
            log_snr = torch.logit(scheduler.alphas_cumprod[timestep].double())
            z = scheduler.step(_eps(denoiser, z, log_snr), timestep, z).prev_sample
        return z

    karras = {"use_karras_sigmas": True}
    return {
        "diffusers DDIM": ddim,
        "diffusers Heun (EDM)": exploding(diffusers.HeunDiscreteScheduler, **karras),
        "diffusers LMS": exploding(diffusers.LMSDiscreteScheduler, **karras),
        "diffusers DPM-Solver++ 2M": preserving(
            diffusers.DPMSolverMultistepScheduler, solver_order=2, **karras
        ),
        "diffusers DPM-Solver++ 3M": preserving(
            diffusers.DPMSolverMultistepScheduler, solver_order=3, **karras
        ),
        "diffusers DPM-Solver++ 2M, uniform t": preserving(
            diffusers.DPMSolverMultistepScheduler, solver_order=2
        ),
        "diffusers UniPC 3": preserving(
            diffusers.UniPCMultistepScheduler, solver_order=3, **karras
        ),
        "diffusers UniPC 3, uniform log-SNR": preserving(
            diffusers.UniPCMultistepScheduler, solver_order=3, use_exponential_sigmas=True
        ),
        "diffusers DEIS 3": preserving(diffusers.DEISMultistepScheduler, solver_order=3, **karras),
    }


def _azula():
    try:
        from azula import sample
        from azula.denoise import Denoiser, DiracPosterior
        from azula.noise import CosineSchedule, VPSchedule
    except ImportError:
        return {}

    class Exact(Denoiser):
        def __init__(self, denoiser, schedule):
            super().__init__()
            self.exact, self.schedule = denoiser, schedule

        def forward(self, x_t, t, **kwargs):
            alpha, sigma = self.schedule(t)
            # its schedules do not quite preserve the variance
            scale = torch.sqrt(alpha**2 + sigma**2)
            log_snr = 2 * torch.log(alpha / sigma)
            return DiracPosterior(self.exact(x_t / scale, log_snr))

    def sampler(sampler_class, schedule, **options):
        def run(denoiser, z, n_steps):
            exact = Exact(denoiser, schedule())
            return sampler_class(exact, steps=n_steps, silent=True, dtype=torch.float64, **options)(
                z
            )

        return run

    return {
        "azula DDIM": sampler(sample.DDIMSampler, VPSchedule),
        "azula Heun": sampler(sample.HeunSampler, VPSchedule),
        "azula vAB 3": sampler(sample.vABSampler, VPSchedule, order=3),
        "azula vAB 3, cosine": sampler(sample.vABSampler, CosineSchedule, order=3),
        "azula zAB 3": sampler(sample.zABSampler, VPSchedule, order=3),
        "azula xEAB 3": sampler(sample.xEABSampler, VPSchedule, order=3),
        "azula zEAB 3": sampler(sample.zEABSampler, VPSchedule, order=3),
        "azula REAB": sampler(sample.REABSampler, VPSchedule),
    }


def _k_diffusion():
    sampling = _k_diffusion_sampling()
    if sampling is None:
        return {}

    def run_with(sampler, sigmas_of):
        def run(denoiser, z, n_steps):
            # noise over signal of the linear schedule of the others
            sigmas = sigmas_of(n_steps).double()

            def model(y, sigma):
                log_snr = -2 * torch.log(sigma)
                scale = torch.sqrt(torch.sigmoid(log_snr))[:, None]
                return denoiser(y * scale, log_snr[0])

            return sampler(model, z * sigmas[0], sigmas, disable=True)

        return run

    def karras(n_steps):
        return sampling.get_sigmas_karras(n_steps, 0.01, 157.0)

    def exponential(n_steps):
        return sampling.get_sigmas_exponential(n_steps, 0.01, 157.0)

    return {
        "k-diffusion Euler": run_with(sampling.sample_euler, karras),
        "k-diffusion Heun": run_with(sampling.sample_heun, karras),
        "k-diffusion DPM-2": run_with(sampling.sample_dpm_2, karras),
        "k-diffusion LMS 4": run_with(sampling.sample_lms, karras),
        "k-diffusion DPM-Solver++ 2M": run_with(sampling.sample_dpmpp_2m, karras),
        "k-diffusion DPM-Solver++ 2M, uniform log-SNR": run_with(
            sampling.sample_dpmpp_2m, exponential
        ),
    }


@functools.cache
def _k_diffusion_sampling():
    """Its samplers alone: the package as a whole needs image libraries and more."""
    package = importlib.util.find_spec("k_diffusion")
    if package is None:
        return None
    stub = types.ModuleType("k_diffusion")
    stub.__path__ = list(package.submodule_search_locations)
    stub.utils = sys.modules["k_diffusion.utils"] = types.ModuleType("k_diffusion.utils")
    stub.utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))
    sys.modules["k_diffusion"] = stub
    try:
        return importlib.import_module("k_diffusion.sampling")
    except ImportError:
        return None


def _eps(denoiser, z, log_snr):
    alpha, sigma = torch.sqrt(torch.sigmoid(log_snr)), torch.sqrt(torch.sigmoid(-log_snr))
    return (z - alpha * denoiser(z, log_snr)) / sigma
