"""At home in the ecosystem: pysteps, remote and packed stores, a dask cluster, wrong models.

What is here is asked of the real packages and of servers that this script starts on this machine:

``pysteps_nowcast``       whether a nowcast made through pysteps' own call is the model's
``remote_stores_opened``  how many kinds of stores elsewhere or packed give the same cube
``cluster_bits_equal``    whether samples of a cluster whose worker was killed have the same bits
``wrong_models_refused``  how many questions about other rain a model refuses

    python benchmarks/ecosystem.py --quick
    python benchmarks/ecosystem.py --json benchmarks/results/ecosystem.json

``--quick`` trains for two steps and draws fewer samples. What is not installed is null. The last
line is JSON.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import signal
import tempfile
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Of what a killed worker leaves behind, at the very end, below the line of JSON.
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")

import numpy as np
import torch
from joblib import parallel_config

from skdiffuse import PrecipDiffusion, make_precipitation, open_cube, write_cube


def toy_model(quick: bool) -> tuple[PrecipDiffusion, object]:
    """A model of hourly rain, hardly trained, and its rain."""
    side, frames = (16, 48) if quick else (32, 240)
    rain = make_precipitation(frames, (side, side), correlation_length=4.0, random_state=0)
    model = PrecipDiffusion(
        n_frames=6,
        max_steps=2 if quick else 20,
        random_state=0,
        device="cpu",
        verbose=False,
    )
    return model.fit(rain), rain


# pysteps


def pysteps_nowcast(model, rain, folder: Path) -> bool | None:
    """Whether pysteps' own call gives the model's forecast, from decibels and turned rows."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from pysteps import nowcasts
            from pysteps.utils import transformation
    except ImportError:
        return None
    import skdiffuse.pysteps_plugin  # noqa: F401

    path = folder / "model.safetensors"
    model.save(path)
    size = float(rain.x[1] - rain.x[0])
    metadata = {"unit": "mm/h", "transform": None, "threshold": 0.1, "zerovalue": 0.0,
                "yorigin": "upper", "accutime": 60.0, "xpixelsize": size, "ypixelsize": size,
                "cartesian_unit": "m"}  # fmt: skip
    past = rain[:3].where(rain[:3] >= 0.1, 0.0)
    own = model.forecast(past, 3, n_members=2, n_steps=4, random_state=0).values
    ask = partial(nowcasts.get_method("skdiffuse"), model=path, n_ens_members=2, seed=0, n_steps=4)
    turned = past.values[:, ::-1]
    plain = ask(turned, None, 3, metadata=metadata)[:, :, ::-1]
    logged, stated = transformation.dB_transform(turned.astype(float), metadata)
    back = 10 ** (ask(logged, None, 3, metadata=stated)[:, :, ::-1] / 10)
    wet = own > 0.11
    return bool((plain == own).all() and np.allclose(back[wet], own[wet], rtol=1e-2))


# Remote and packed stores


class Quiet(SimpleHTTPRequestHandler):
    """A web server of a folder."""

    def log_message(self, *of_a_request):
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def zipped(store: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(store.parent))
    return path


def references(file: Path, path: Path) -> Path:
    from kerchunk.netCDF3 import NetCDF3ToZarr

    path.write_text(json.dumps(NetCDF3ToZarr(str(file), inline_threshold=0).translate()))
    return path


def stores_of(rain, folder: Path, web: str) -> dict[str, Callable[[], object]]:
    """What gives each source for `open_cube`."""
    dataset = rain.to_dataset(name="rain")
    write_cube(rain, folder / "rain.nc")
    write_cube(rain, folder / "rain.zarr")
    half = rain.sizes["time"] // 2
    for k, part in enumerate((rain[:half], rain[half:])):
        write_cube(part, folder / f"part_{k}.nc")
    dataset.to_netcdf(folder / "grouped.nc", group="radar/science")
    dataset.to_netcdf(folder / "old.nc", format="NETCDF3_64BIT", engine="scipy")
    packed = folder / "rain.nc.gz"
    packed.write_bytes(gzip.compress((folder / "rain.nc").read_bytes()))

    def memory():
        shards = {"rain": {"chunks": (1, *rain.shape[1:]), "shards": rain.shape}}
        dataset.to_zarr("memory://sharded.zarr", mode="w", encoding=shards)
        return "memory://sharded.zarr"

    def memory_netcdf():
        import fsspec

        fsspec.filesystem("memory").put_file(str(folder / "rain.nc"), "/rain.nc")
        return "memory://rain.nc"

    def tree():
        import xarray as xr

        return xr.open_datatree(folder / "grouped.nc")

    return {
        "Zarr, http": lambda: f"{web}/rain.zarr",
        "NetCDF, http": lambda: f"{web}/rain.nc",
        "pattern, http": lambda: f"{web}/part_*.nc",
        "gzip, http": lambda: f"{web}/rain.nc.gz",
        "groups, http": lambda: f"{web}/grouped.nc",
        "sharded Zarr, memory": memory,
        "NetCDF, memory": memory_netcdf,
        "Zarr in zip": lambda: zipped(folder / "rain.zarr", folder / "rain.zip"),
        "gzip": lambda: packed,
        "DataTree": tree,
        "references of kerchunk": lambda: references(folder / "old.nc", folder / "rain.json"),
    }


def remote_stores_opened(rain, folder: Path) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {}
    with served(folder) as web, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, source in stores_of(rain, folder, web).items():
            try:
                found[name] = bool((open_cube(source()).values == rain.values).all())
            except ImportError as error:
                print(name, error)
                found[name] = None
    return found


# A cluster


def dying_once(marker: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """A wish about rain that ends the first process that it is asked in."""

    def wish(rain):
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.1 * rain.sum((1, 2, 3))

    return wish


def cluster_bits_equal(model, folder: Path, n: int) -> bool | None:
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError:
        return None
    wish = dying_once(folder / "died")

    def drawn():
        return np.asarray(model.sample(n, n_steps=4, n_jobs=2, random_state=0, log_likelihood=wish))

    with (
        config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=60
        ) as cluster,
        Client(cluster),
        parallel_config("dask"),
    ):
        over_the_cluster = drawn()
    assert (folder / "died").exists(), "no worker was killed"
    with parallel_config("threading"):
        return bool((over_the_cluster == drawn()).all())


# Models that are asked about other rain


def wrong_models_refused(model, rain) -> dict[str, bool]:
    """Whether a model refuses rain of another time step, cell size or unit."""
    first = rain.time.values[0]
    five_minutes = first + np.arange(rain.sizes["time"]) * np.timedelta64(5, "m")
    other = {
        "another time step": rain.assign_coords(time=five_minutes),
        "another cell size": rain.assign_coords(
            x=("x", 2 * rain.x.values, rain.x.attrs), y=("y", 2 * rain.y.values, rain.y.attrs)
        ),
        "another unit": rain.assign_attrs(units="kg m-2"),
    }
    refused = {}
    for name, cube in other.items():
        try:
            model.forecast(cube[:3], 1, n_steps=2, random_state=0)
            refused[name] = False
        except ValueError as error:
            print(f"{name}: {error}")
            refused[name] = True
    return refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        model, rain = toy_model(options.quick)
        nowcast = pysteps_nowcast(model, rain, folder)
        stores = remote_stores_opened(rain, folder)
        bits = cluster_bits_equal(model, folder, 4 if options.quick else 16)
        refused = wrong_models_refused(model, rain)
    for title, found in ("opened", stores), ("refused", refused):
        print(title, *(f"  {name}: {right}" for name, right in found.items()), sep="\n")
    line = {
        "pysteps_nowcast": nowcast,
        "remote_stores_opened": sum(right is True for right in stores.values()),
        "cluster_bits_equal": bits,
        "wrong_models_refused": sum(refused.values()),
    }
    if options.json:
        details = {"stores": stores, "refused": refused}
        seconds = round(time.process_time() - start, 1)
        options.json.write_text(
            json.dumps({**line, **details, "cpu_seconds": seconds}, indent=1) + "\n"
        )
    print(json.dumps(line))


if __name__ == "__main__":
    main()
