"""CPU seconds and extra memory of CRPS, FSS and radial spectra, beside the peers.

20 members x 18 lead times x 256 x 256 cells of float32 rain with dry ties, one thread, one
process, best of some rounds that take turns. Every peer computes the same numbers (checked), and
each is given its arrays in the layout and with the backend that suit it best. Extra memory is
the peak of what NumPy allocates beyond the inputs, in a run of its own. The last line is JSON.

    python benchmarks/metric_speed.py --quick
"""

import argparse
import json
import os
import time
import tracemalloc

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from skdiffuse import metrics

THRESHOLD, SCALE = 1.0, 9


def rain(rng, *shape):
    field = rng.gamma(0.3, 2.0, size=shape).astype(np.float32)
    field[field < 0.5] = 0
    return field


def contestants(obs, ens):
    """For each task the callables by name; ours is called "skdiffuse"."""
    frames = ens.reshape(-1, *ens.shape[-2:])
    last = np.ascontiguousarray(np.moveaxis(ens, 0, -1))
    tasks = {
        "crps": {"skdiffuse": lambda: metrics.crps_ensemble(obs, ens, average=False)},
        "fss": {
            "skdiffuse": lambda: metrics.fss(
                obs, ens, thresholds=THRESHOLD, scales=SCALE, average=False
            )
        },
        "rapsd": {
            "skdiffuse": lambda: metrics.spatial_psd(frames, statistic="mean", average=False).P
        },
    }
    try:
        import numba  # noqa: F401  (scoringrules has its fast backend only where this is)
        import scoringrules

        # All exact estimators of the fair score or of the plain one; "akr" is another quantity.
        for estimator in ("fair", "nrg", "qd", "pwm"):
            tasks["crps"][f"scoringrules numba {estimator}"] = lambda estimator=estimator: (
                scoringrules.crps_ensemble(obs, last, estimator=estimator, backend="numba")
            )
    except ImportError:
        print("scoringrules (with numba) is not installed")
    try:
        import properscoring

        tasks["crps"]["properscoring"] = lambda: properscoring.crps_ensemble(obs, last)
    except ImportError:
        print("properscoring is not installed")
    try:
        import scipy.fft
        from pysteps.utils.spectral import rapsd
        from pysteps.verification.spatialscores import fss

        tasks["fss"]["pysteps"] = lambda: np.array(
            [[fss(f, o, THRESHOLD, SCALE) for f, o in zip(e, obs, strict=True)] for e in ens]
        )
        for name, backend in (("numpy", np.fft), ("scipy", scipy.fft)):
            tasks["rapsd"][f"pysteps {name}"] = lambda backend=backend: np.array(
                [rapsd(f, fft_method=backend) for f in frames]
            )
    except ImportError:
        print("pysteps is not installed")
    return tasks


def check(task, ours, peer, name):
    if task == "rapsd":
        if name != "skdiffuse":
            peer = peer / 256**2  # pysteps states |F|^2 / N, ours is |F|^2 / N^2,
            ours = ours[:, : peer.shape[1]]  # and leaves out the corners
        np.testing.assert_allclose(ours.mean(axis=0), peer.mean(axis=0), rtol=1e-4)
    elif task == "crps" and name.split()[-1] in ("fair", "skdiffuse"):
        np.testing.assert_allclose(ours, peer, atol=2e-5)
    elif task == "fss":
        np.testing.assert_allclose(ours, peer, atol=1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds and not 5")
    rounds = 2 if parser.parse_args().quick else 5
    rng = np.random.default_rng(0)
    obs, ens = rain(rng, 18, 256, 256), rain(rng, 20, 18, 256, 256)
    results = {}
    for task, callables in contestants(obs, ens).items():
        answers = {name: call() for name, call in callables.items()}  # compiles, too
        for name, answer in answers.items():
            check(task, answers["skdiffuse"], answer, name)
        seconds = dict.fromkeys(callables, np.inf)
        for _ in range(rounds):
            for name, call in callables.items():
                start = time.process_time()
                call()
                seconds[name] = min(seconds[name], time.process_time() - start)
        for name, call in callables.items():
            tracemalloc.start()
            call()
            memory = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            results.setdefault(task, {})[name] = {
                "cpu_s": round(seconds[name], 4),
                "extra_mib": round(memory, 1),
            }
            print(f"{task:6s} {name:24s} {seconds[name]:8.4f} s  {memory:8.1f} MiB")

    def ratio(task):
        """CPU seconds of the fastest peer over ours."""
        peers = [r["cpu_s"] for name, r in results[task].items() if name != "skdiffuse"]
        ours = results[task]["skdiffuse"]["cpu_s"]
        return round(min(peers) / ours, 2) if peers else None

    print(
        json.dumps(
            {
                "crps_vs_fastest": ratio("crps"),
                "fss_vs_pysteps": ratio("fss"),
                "rapsd_vs_pysteps": ratio("rapsd"),
                "threads": 1,
                "rounds": rounds,
                "array": "20 x 18 x 256 x 256 float32",
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    main()
