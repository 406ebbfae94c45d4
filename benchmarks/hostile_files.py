"""Files made to do harm, and what becomes of them: refused in plain words, and nothing is run.

Each case makes one file (a model, a card, rain, or what holds rain) and says what the error must
hold, or that reading it is harmless. While it is read the process may take 1 GiB more than it has,
and whatever would run a program, look up a class for pickle or leave a mark in the folder beside is
noted.

    python benchmarks/hostile_files.py

prints every case and ends with one JSON line.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import os
import struct
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from skdiffuse import ModelCard, NetworkSettings, PrecipDiffusion, list_models
from skdiffuse.cubes import open_cube, packed, write_cube
from skdiffuse.datasets import make_precipitation
from skdiffuse.training import read_tensors, write_tensors

# Events of Python's audit that mean that a file has had its way.
_RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen"}
# Libraries copy objects of their own by pickle, which looks up classes of theirs; these do harm.
_HARMFUL = {"os", "posix", "nt", "subprocess", "shutil", "sys", "importlib", "runpy"}
_BUILT_IN = {"eval", "exec", "compile", "open", "__import__"}
_MORE_MEMORY = 2**30
CASES: list[tuple[str, Callable[[Path], Any], str | None]] = []
_noted: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _noted is None:
        return
    if event == "pickle.find_class":
        module, name = arguments
        if module in _HARMFUL or (module == "builtins" and name in _BUILT_IN):
            _noted.append(f"pickle of {module}.{name}")
    elif event in _RUNS:
        _noted.append(event)


sys.addaudithook(_note)


def case(name: str, error: str | None = None) -> Callable[[Callable], Callable]:
    """Register a case, which makes a file and reads it: `error` is what the refusal must hold."""

    def register(attempt: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append((name, attempt, error))
        return attempt

    return register


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    """No more than a gigabyte beyond what the process has, where the system can say so."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    allowed = pages * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(attempt: Callable[[Path], Any], error: str | None) -> tuple[str, str]:
    """What becomes of a case: "as_it_should", "unclear", or "code_executed", and a line of it."""
    global _noted
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place, "inside")
        inside.mkdir()
        line = "read without harm"
        verdict = "as_it_should" if error is None else "unclear"
        _model()
        _noted = []
        try:
            with warnings.catch_warnings(), _little_memory():
                warnings.simplefilter("ignore")
                attempt(inside)
        except (ValueError, TypeError, OSError) as refusal:
            line = f"{type(refusal).__name__}: {refusal}"
            clear = error is not None and error in str(refusal) and len(str(refusal)) < 2000
            verdict = "as_it_should" if clear else "unclear"
        except BaseException as surprise:
            line, verdict = f"{type(surprise).__name__}: {str(surprise)[:200]}", "unclear"
        noted, _noted = _noted, None
        if noted or set(os.listdir(place)) != {"inside"}:
            line, verdict = f"{noted}; {line}", "code_executed"
    return verdict, line


def run(say: Callable[[str], None] = print) -> dict[str, int]:
    """All cases, each told in a line."""
    found = {"hostile_files": len(CASES), "as_it_should": 0, "unclear": 0, "code_executed": 0}
    for name, attempt, error in CASES:
        verdict, line = outcome(attempt, error)
        found[verdict] += 1
        say(f"{verdict:>13}  {name}: {line[:300]}")
    return found


class _Touch:
    """Unpickled, leaves a mark beside the folder of its file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


# Models


@functools.cache
def _model() -> tuple[dict[str, torch.Tensor], str]:
    """Tensors and content of a small true model."""
    rain = make_precipitation(6, (8, 8), random_state=0)
    settings = NetworkSettings(skip="wiener", geography=False)
    model = PrecipDiffusion(
        n_frames=2, network=settings, max_steps=1, batch_size=1, random_state=0, verbose=False
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rain).save(path)
        tensors, content = read_tensors(path)
    return tensors, json.dumps(content)


def _changed(*keys: str, value: Any = None) -> Callable[[Path], Any]:
    """Load a model of which one thing was changed, its checksum being right."""

    def attempt(folder: Path) -> Any:
        tensors, content = _model()[0], json.loads(_model()[1])
        holder = content
        for key in keys[:-1]:
            holder = holder[key]
        if value is _GONE:
            del holder[keys[-1]]
        elif keys:
            holder[keys[-1]] = value
        path = folder / "model.safetensors"
        write_tensors(path, tensors, content)
        model = PrecipDiffusion.load(path)
        return model.sample(n_steps=1, random_state=0)

    return attempt


_GONE = object()
_NO_MODEL = "is no model that this version of skdiffuse can read"
_CLASS = {"class": "system", "parameters": {"command": "mkdir ../mark"}}
for _name, _keys, _value, _error in [
    ("a class that is none of ours", ("schedule",), _CLASS, "that this version of skdiffuse does"),
    ("a name of another module", ("schedule", "class"), "importlib", "that this version of"),
    ("a schedule of endless numbers", ("schedule", "parameters"), {"minimum": 1e308}, _NO_MODEL),
    ("a transformer that is none of ours", ("transformer", "class"), "Popen", "no transformer cl"),
    ("a method put over a transformer's", ("transformer", "state"), {"transform": 1}, "neither"),
    ("a class put over a transformer's", ("transformer", "state"), {"__class__": "x"}, "neither"),
    ("a parameter that no model has", ("params", "command"), "mkdir ../mark", "does not have"),
    ("settings that no model has", ("params", "command"), {"settings": {"a": 1}}, _NO_MODEL),
    ("a parameter out of range", ("params", "batch_size"), -1, "batch_size=-1 must be"),
    ("a network of somebody's own", ("params", "network"), {"own": "os.system"}, "network=..."),
    ("no parameters", ("params",), _GONE, _NO_MODEL),
    ("parameters in a list", ("params",), ["x"], _NO_MODEL),
    ("a version that is no number", ("format",), "2", _NO_MODEL),
    ("a plan with more in it", ("plan", "command"), "x", _NO_MODEL),
    ("10^9 inputs", ("plan", "n_inputs"), 10**9, _NO_MODEL),
    ("10^9 classes", ("plan", "n_labels"), 10**9, "weights of another network"),
    ("a window of 10^9 frames", ("n_frames",), 10**9, _NO_MODEL),
    ("a window of 10^12 frames", ("n_frames",), 10**12, _NO_MODEL),
    ("a window of 10^30 cells", ("field_shape",), [10**15, 10**15], _NO_MODEL),
    ("a negative window", ("field_shape",), [-8, 8], _NO_MODEL),
    ("a plan of 10^9 frames", ("plan", "n_frames"), 10**9, None),
    ("a scale that is no number", ("latent", "scale"), "x", _NO_MODEL),
    ("a template of Python objects", ("template",), '{"dims": 1}', _NO_MODEL),
    ("a template that is no JSON", ("template",), "{", _NO_MODEL),
    ("the largest architecture", ("params", "network"), {"settings": {"architecture": "large"}},
     "weights of another network"),
    ("an architecture by an unknown name", ("params", "network"),
     {"settings": {"architecture": "os"}}, "network"),
]:  # fmt: skip
    case(f"model: {_name}", _error)(_changed(*_keys, value=_value))


def _raw_model(payload: Callable[[], bytes]) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        path = folder / "model.safetensors"
        path.write_bytes(payload())
        return PrecipDiffusion.load(path)

    return attempt


def _header(content: Any, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


_one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
_pickled = io.BytesIO()
torch.save({"a": torch.ones(1)}, _pickled)
for _name, _payload, _error in [
    ("a header of 2^63 bytes", lambda: struct.pack("<Q", 2**63) + b"{}", "truncated or not a"),
    ("a header of 90 MB in a file of 10", lambda: struct.pack("<Q", 90_000_000) + b"{}", "truncat"),
    ("two tensors in one place", lambda: _header({"a": _one, "b": _one}, b"abcd"), "truncated or"),
    ("offsets that run back", lambda: _header({"a": {**_one, "data_offsets": [4, 0]}}, b"abcd"),
     "truncated or"),
    ("offsets beyond the end", lambda: _header({"a": {**_one, "data_offsets": [0, 2**62]}}),
     "truncated or"),
    ("a shape of 2^80 values", lambda: _header({"a": {**_one, "shape": [2**40, 2**40]}}, b"abcd"),
     "truncated or"),
    ("a hole between tensors", lambda: _header({"a": {**_one, "data_offsets": [8, 12]}}, b"a" * 12),
     "truncated or"),
    ("a header nested 10^5 deep", lambda: _header(b'{"a":' * 10**5 + b"}" * 10**5), "truncated or"),
    ("an unknown type of numbers", lambda: _header({"a": {**_one, "dtype": "PY"}}, b"abcd"),
     "truncated or"),
    ("a pickle of torch under its name", _pickled.getvalue, "truncated or not"),
]:  # fmt: skip
    case(f"safetensors: {_name}", _error)(_raw_model(_payload))


def _with_text(text: str) -> Callable[[Path], Any]:
    """A file with one tensor whose description is a text of our own, its checksum being right."""

    def attempt(folder: Path) -> Any:
        from safetensors.torch import save

        from skdiffuse.training import checkpoints

        tensors = {"a": torch.ones(1)}
        digest = checkpoints._digest(tensors, text)
        path = folder / "model.safetensors"
        path.write_bytes(save(tensors, metadata={"skdiffuse": text, "sha256": digest}))
        return PrecipDiffusion.load(path)

    return attempt


for _name, _text in [
    ("nested 10^5 deep", "[" * 10**5 + "]" * 10**5),
    ("a number of 10^5 digits", '{"kind": ' + "9" * 10**5 + "}"),
    ("no JSON", "{kind"),
    ("a list", "[1]"),
    ("nothing but its kind", '{"kind": "PrecipDiffusion"}'),
]:
    case(f"metadata: {_name}", "model.safetensors")(_with_text(_text))


# Cards


def _carded(text: str | bytes) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        tensors, content = _model()
        write_tensors(folder / "mine.safetensors", tensors, json.loads(content))
        payload = text if isinstance(text, bytes) else text.encode()
        (folder / "mine.card.json").write_bytes(payload)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for card in list_models(folder).values():
                str(card)
        return PrecipDiffusion.load("skdiffuse/mine", folder=folder)

    return attempt


_said = {"title": "t", "data": "d", "region": "r", "licence": "l", "window": [2, 8, 8]}
for _name, _card, _error in [
    ("nested 10^5 deep", '{"scores": ' + "[" * 10**5 + "]" * 10**5 + "}", "mine.card.json"),
    ("numbers of 10^5 digits", json.dumps(_said)[:-1] + ', "time_step": ' + "9" * 10**5 + "}",
     "mine.card.json"),
    ("a number beyond all numbers", json.dumps(_said)[:-1] + ', "time_step": 1e999}', "time_step"),
    ("a word that no card has", json.dumps({**_said, "class": "os.system"}), "which no card has"),
    ("commands to a terminal", json.dumps({**_said, "title": "\x1b]0;mark\x07"}), "title"),
    ("a gigantic window", json.dumps({**_said, "window": [10**400, 8, 8]}), "window"),
    ("no text", b"\xff\xfe\x00", "cannot be read"),
    ("100 MB of spaces", b" " * 10**8, "mine.card.json"),
]:  # fmt: skip
    case(f"card: {_name}", _error)(_carded(_card))


@case("card: a name that climbs out of its folder", "there is no model")
def _climbing(folder: Path) -> Any:
    tensors, content = _model()
    write_tensors(folder / "mine.safetensors", tensors, json.loads(content))
    (folder / "models").mkdir()
    return PrecipDiffusion.load("skdiffuse/../mine", folder=folder / "models")


# Rain


def _rain() -> xr.DataArray:
    return make_precipitation(6, (4, 5), random_state=0)


def _store(folder: Path) -> Path:
    return write_cube(_rain(), folder / "rain.zarr")


def _edit(path: Path, **changed: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changed}), encoding="utf-8")


def _pickling(folder: Path, dtype: str = "<f8") -> Path:
    """A store with an array that is made by pickle."""
    import pickle

    store = _store(folder)
    (store / ".zmetadata").unlink()
    array = store / "time"
    count = json.loads((array / ".zarray").read_text(encoding="utf-8"))["shape"]
    _edit(array / ".zarray", dtype=dtype, filters=[{"id": "pickle", "protocol": 2}],
          compressor=None, chunks=count, fill_value=None)  # fmt: skip
    (array / "0").write_bytes(pickle.dumps([_Touch(folder.parent / "mark")]))
    return store


@case("zarr: an axis made by pickle", "pickle")
def _zarr_pickle(folder: Path) -> Any:
    return open_cube(_pickling(folder)).load()


@case("zarr: an axis unpacked by pickle", "pickle")
def _zarr_unpickled(folder: Path) -> Any:
    store = _pickling(folder)
    pickled = {"id": "pickle", "protocol": 2}
    _edit(store / "time" / ".zarray", filters=None, compressor=pickled)
    return open_cube(store).load()


@case("zarr: an axis of objects made by pickle", "pickle")
def _zarr_objects(folder: Path) -> Any:
    return open_cube(_pickling(folder, "|O")).load()


@case("zarr: an axis made by pickle, in a zip archive", "pickle")
def _zip_pickle(folder: Path) -> Any:
    store = _pickling(folder)
    path = folder / "rain.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                archive.write(file, str(file.relative_to(store)))
    return open_cube(path).load()


@case("zarr: an axis made by pickle, in a list of references", "pickle")
def _reference_pickle(folder: Path) -> Any:
    store = _pickling(folder)
    references = {
        file.relative_to(store).as_posix(): "base64:" + _base64(file.read_bytes())
        for file in sorted(store.rglob("*"))
        if file.is_file()
    }
    return open_cube(_listed(folder, references)).load()


@case("zarr: an axis of 10^12 places", "10^8")
def _zarr_axis(folder: Path) -> Any:
    store = _store(folder)
    (store / ".zmetadata").unlink()
    for name in (*"yx", "time"):
        n = [10**12] if name == "x" else None
        if n:
            _edit(store / name / ".zarray", shape=n)
    array = next(path for path in store.iterdir() if path.is_dir() and path.name not in "yxtime")
    content = json.loads((array / ".zarray").read_text(encoding="utf-8"))
    _edit(array / ".zarray", shape=[*content["shape"][:2], 10**12])
    return open_cube(store)


@case("zarr: metadata nested 10^5 deep", "cannot be opened")
def _zarr_nested(folder: Path) -> Any:
    store = _store(folder)
    (store / ".zmetadata").write_bytes(b"[" * 10**5 + b"]" * 10**5)
    return open_cube(store)


def _zipped(extra: dict[str, bytes]) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        store = _store(folder)
        path = folder / "rain.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in extra.items():
                archive.writestr(name, content)
            for file in sorted(store.rglob("*")):
                name = str(file.relative_to(store))
                if file.is_file() and name not in extra:
                    archive.write(file, name)
        return open_cube(path).load()

    return attempt


case("zip: names that climb out of the folder", "leads out")(
    _zipped({"../../mark": b"x", "../mark": b"x"})
)
case("zip: an absolute name", "leads out")(_zipped({"/skdiffuse-mark": b"x"}))
case("zip: metadata of 300 MB in 300 kB", "of metadata")(
    _zipped({".zattrs": b'{"a": "' + b" " * 300_000_000 + b'"}', ".zmetadata": b"{}"})
)


@case("zip: not one, though it begins as one", "unpack it")
def _half_zip(folder: Path) -> Any:
    path = folder / "rain.zip"
    path.write_bytes(b"PK\x03\x04" + b"\x00" * 100)
    return open_cube(path)


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _listed(folder: Path, references: Any, **around: Any) -> Path:
    path = folder / "rain.json"
    content = {"version": 1, "refs": references, **around}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _references(folder: Path) -> dict[str, Any]:
    store = _store(folder)
    (store / ".zmetadata").unlink()
    return {
        file.relative_to(store).as_posix(): (
            file.read_text(encoding="utf-8")
            if file.name.startswith(".z")
            else [str(file), 0, file.stat().st_size]
        )
        for file in sorted(store.rglob("*"))
        if file.is_file()
    }


def _pointing(url: str, **around: Any) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        found = _references(folder)
        name = next(name for name in found if name.startswith("x/0"))
        return open_cube(_listed(folder, {**found, name: [url, 0, 40]}, **around)).load()

    return attempt


for _name, _url, _error in [
    ("to a file of the system", "/etc/passwd", "outside"),
    ("to a file by its address", "file:///etc/passwd", "outside"),
    ("to a file that climbs", "../../../../etc/passwd", "outside"),
    ("through other file systems", "simplecache::file:///etc/passwd", "'simplecache'"),
    ("to another machine by ssh", "ssh://host/etc/passwd", "'ssh'"),
    ("to a repository", "github://owner:name@/file", "'github'"),
    ("that have to be computed", "{{ ''.__class__.__mro__ }}", "computed"),
]:
    case(f"references: {_name}", _error)(_pointing(_url))
case("references: templates that are programs", "computed")(
    _pointing("{{u(c=1)}}", templates={"u": "{{ c.__class__ }}"})
)
case("references: 10^12 of them, to be computed", "computed")(
    _pointing(
        "x",
        gen=[{"key": "a{{i}}", "url": "b", "dimensions": {"i": {"stop": 10**12}}}],
    )
)


def _text_references(text: str) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        path = folder / "rain.json"
        path.write_text(text, encoding="utf-8")
        return open_cube(path)

    return attempt


case("references: nested 10^5 deep", "damaged or incomplete")(
    _text_references('{"refs": ' + "[" * 10**5)
)
case("references: in a list", "damaged or incomplete")(_text_references('{"refs": [1, 2]}'))
case("references: of numbers", "damaged or incomplete")(_text_references('{"refs": {"a": 1}}'))


def _attributed(change: Callable[[netCDF4.Dataset], None]) -> Callable[[Path], Any]:
    def attempt(folder: Path) -> Any:
        path = write_cube(_rain(), folder / "rain.nc")
        with netCDF4.Dataset(path, "a") as file:
            change(file)
        return open_cube(path).load()

    return attempt


def _first_field(file: netCDF4.Dataset) -> Any:
    return next(v for v in file.variables.values() if v.ndim == 3)


case("NetCDF: numbers for the name of the rain")(
    _attributed(lambda file: file.setncattr("skdiffuse_variable", np.arange(5.0)))
)
case("NetCDF: numbers for the dimensions")(
    _attributed(lambda file: file.setncattr("skdiffuse_dimensions", np.int64(3)))
)
case("NetCDF: a path for the grid mapping")(
    _attributed(lambda file: _first_field(file).setncattr("grid_mapping", "../../etc/passwd"))
)
case("NetCDF: a program for units", "units")(
    _attributed(
        lambda file: _first_field(file).setncattr("units", "__import__('os').mkdir('../mark')")
    )
)
case("NetCDF: a million letters for units", "units")(
    _attributed(lambda file: _first_field(file).setncattr("units", "m/" * 500_000))
)
case("NetCDF: numbers for units", "units")(
    _attributed(lambda file: _first_field(file).setncattr("units", np.arange(3.0)))
)
case("NetCDF: a calendar that is none", "rain.nc")(
    _attributed(lambda file: file["time"].setncattr("calendar", "__import__('os')"))
)
case("NetCDF: times since a moment that never was", "rain.nc")(
    _attributed(lambda file: file["time"].setncattr("units", "days since 99999999-99-99"))
)


@case("NetCDF: an axis of 10^12 places", "10^8")
def _netcdf_axis(folder: Path) -> Any:
    path = folder / "rain.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", 2), ("y", 2), ("x", 10**12)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,), zlib=True, chunksizes=(min(size, 1000),))
        options = {"zlib": True, "chunksizes": (1, 1, 1000)}
        file.createVariable("pr", "f4", ("time", "y", "x"), **options).units = "mm h-1"
        file["time"][:] = [0, 1]
        file["time"].units = "hours since 2000-01-01"
    return open_cube(path)


@case("PGM: an image of 10^10 pixels in 100 bytes", "damaged")
def _pgm(folder: Path) -> Any:
    path = folder / "rain.pgm"
    path.write_bytes(b"P5\n# obstime 202001010000\n100000 100000\n255\n" + b"\x00" * 50)
    return open_cube(path)


@case("GIF: an image of 65535 x 65535 pixels in 100 bytes", "damaged")
def _gif(folder: Path) -> Any:
    path = folder / "rain.gif"
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\x00\x08\x01\x00\x00\x3b"
    path.write_bytes(
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\x00\x00" + bytes(6) + frame
    )
    return open_cube(path)


@case("gzip: more than the disk holds", "more than")
def _bomb(folder: Path) -> Any:
    path = folder / "rain.nc.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"CDF\x01")
        for _ in range(20):
            file.write(bytes(2**20))
    free = getattr(packed, "free_space", None)
    packed.free_space = lambda folder: 10 * 2**20
    try:
        return open_cube(path)
    finally:
        packed.free_space = free


@case("JSON of a card: a list where an object should be", "not an object")
def _listed_card(folder: Path) -> Any:
    return ModelCard.from_json("[1]")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run()))
