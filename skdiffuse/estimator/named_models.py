"""Models that are found by a name, in the package or in a folder of the user's; never a network."""

from __future__ import annotations

import difflib
import os
import warnings
from pathlib import Path

from skdiffuse.estimator.model_card import ModelCard, card_path

__all__ = ["FOLDER_VARIABLE", "find_model", "list_models", "read_card"]

FOLDER_VARIABLE = "SKDIFFUSE_WEIGHTS"
_PREFIX = "skdiffuse/"
_LONGEST_CARD = 2**20
_SUFFIX = ".safetensors"
_SHIPPED = Path(__file__).parents[1] / "weights"


def find_model(path: str | Path, folder: str | Path | None = None) -> tuple[Path, bool]:
    """The file that a path or a name means.

    Parameters
    ----------
    path : str or Path
        A string ``"skdiffuse/<name>"`` is a name, unless there is a file of that path.
    folder : str, Path or None
        Where to look first; None: where the environment variable ``SKDIFFUSE_WEIGHTS`` says.

    Returns
    -------
    file : Path
    named : bool
        Whether it was found by its name, and so has a card.

    Raises
    ------
    FileNotFoundError
        If there is no model of that name.
    ValueError
        If there is a folder and no name to look for in it.
    """
    if not (isinstance(path, str) and path.startswith(_PREFIX)) or Path(path).is_file():
        if folder is not None:
            raise ValueError(
                f"folder={str(folder)!r} is where names are looked for, such as "
                f"'skdiffuse/{Path(path).stem}'; path={str(path)!r} is a file: leave folder out."
            )
        return Path(path), False
    name = path.removeprefix(_PREFIX)
    files = _files(folder)
    if name in files:
        return files[name], True
    near = difflib.get_close_matches(name, files, 1)
    places = " or ".join(map(str, _folders(folder)))
    raise FileNotFoundError(
        f"path={path!r}: there is no model {name!r}; there are {sorted(files)}"
        + (f" (do you mean {near[0]!r}?)" if near else "")
        + f", in {places}. Put weights of your own there with save, or say where they are with "
        f"folder=... or the environment variable {FOLDER_VARIABLE}."
    )


def list_models(folder: str | Path | None = None) -> dict[str, ModelCard | None]:
    """Return the models that `PrecipDiffusion.load` knows by name.

    Parameters
    ----------
    folder : str, Path or None, default=None
        Of weights of your own; None: the environment variable ``SKDIFFUSE_WEIGHTS``, if it is set.

    Returns
    -------
    dict of str to ModelCard
        By name; None for weights without a readable card.

    Warns
    -----
    UserWarning
        If a card is not readable.

    Examples
    --------
    >>> from skdiffuse import list_models
    >>> list_models()["hourly_4km"].time_step
    3600.0
    """
    found: dict[str, ModelCard | None] = {}
    for name, file in _files(folder).items():
        try:
            found[name] = read_card(file)
        except ValueError as error:
            warnings.warn(str(error), UserWarning, stacklevel=2)
            found[name] = None
    return found


def read_card(weights: Path) -> ModelCard | None:
    """The card beside a file of weights; None if there is none.

    Raises
    ------
    ValueError
        If it is not readable.
    """
    path = card_path(weights)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST_CARD + 1)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): write it anew.") from error
    if len(text) > _LONGEST_CARD:
        raise ValueError(
            f"{path} has more than {_LONGEST_CARD} characters, which is no card: write it anew."
        )
    return ModelCard.from_json(text, str(path))


def _folders(folder: str | Path | None) -> list[Path]:
    """Where models are, the user's own first."""
    own = folder or os.environ.get(FOLDER_VARIABLE)
    if own is None or own == "":
        return [_SHIPPED]
    if not Path(own).is_dir():
        said = "folder" if folder else f"the environment variable {FOLDER_VARIABLE}"
        raise FileNotFoundError(f"{said}={str(own)!r} is no folder: make it, or leave it out.")
    return [Path(own), _SHIPPED]


def _files(folder: str | Path | None) -> dict[str, Path]:
    """Weights by name; one of the user's own goes before one of the package."""
    return {
        file.stem: file
        for place in reversed(_folders(folder))
        for file in sorted(place.glob(f"*{_SUFFIX}"))
    }
