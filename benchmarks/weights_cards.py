"""Cards of the weights that the package brings: what they know, and how good they are.

    python benchmarks/weights_cards.py

Writes ``skdiffuse/weights/NAME.card.json`` from the model itself, from what `weights.py` measured
of it (``benchmarks/results/weights_NAME.json``), from the race of its nowcasts, where it ran one,
and from the words below.
"""

import json
from pathlib import Path

from skdiffuse import ModelCard, PrecipDiffusion

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "skdiffuse/weights"
MRMS = {
    "data": "MRMS gauge-corrected radar rain (GaugeCorr_QPE_01H) of NOAA, means of hours on 4 km, "
    "2016-09-20 00 to 2016-09-21 23 UTC; from pysteps-data",
    "region": "central and western United States, 28.5 to 48.8 N, 123.4 to 86.4 W",
    "licence": "weights BSD-3-Clause; data: work of the US government",
}
SAID: dict[str, dict[str, object]] = {
    "synthetic": {
        "title": "Made-up rain of exactly known law, for trying things out",
        "data": "make_precipitation(3000, (96, 96), correlation_length=6.0, random_state=0)",
        "region": "none",
        "licence": "BSD-3-Clause",
        "limits": "any real question.",
    },
    "era5": {
        "title": "Hourly rain of ERA5 over Chile, whole fields that know their places",
        "data": "ERA5 total precipitation, means of hours; January, February, July and August of "
        "2020 learnt, the months between held out",
        "region": "Chile and western Argentina and Bolivia, 56 to 17 S, 76 to 66 W",
        "licence": "weights BSD-3-Clause; contains modified Copernicus Climate Change Service "
        "information 2020 (Copernicus licence, free with attribution)",
        "limits": "other places, which it refuses; gauges: ERA5 is smoother than rain. Its finest "
        "waves are too strong (1.3).",
    },
    "hourly_4km": {
        "title": "Hourly radar rain, 4 km, also told known cells, for nowcasts",
        "data": MRMS["data"] + "; and ANTILOPE J+1 of Meteo-France (radar and gauges), hours of "
        "1 km, means of 4 x 4 cells, 2012-01-01 00 to 2012-01-02 08 UTC; from smash",
        "region": MRMS["region"] + "; France, 41 to 51 N, 5 W to 10 E",
        # Models of several grids keep none.
        "cell": (-4000.0, 4000.0),
        "licence": "weights BSD-3-Clause; MRMS: work of the US government; ANTILOPE: its source, "
        "smash, states no terms for the data",
        "limits": "two episodes, of two days in September and of 33 hours in January: no "
        "climatology. Rain drawn freely is too smooth and too widespread: half of the power of "
        "waves above 3, 1.4 of the wet share, quantile 1 - 1e-4: 0.64. Nowcasts of other days "
        "are too dry (0.5 of their rain, 0.7 in the first hour).",
    },
    "hourly_4km_small": {
        "title": "Hourly radar rain, 4 km, in small windows",
        **MRMS,
        "limits": "one episode of two days in September: no climatology, no other season. A "
        "little too dry (0.92 of the mean, with an interval from 0.80).",
    },
    "five_minutes_2km": {
        "title": "Radar rain every five minutes, 2 km, also told known cells, for nowcasts",
        "data": "FMI composite of lowest reflectivities, instants, 2016-09-28 14:45 to 18:00 "
        "UTC; MeteoSwiss composite AQC, means of five minutes, 2015-05-15 15:45 to 19:00 and "
        "2017-01-31 09:45 to 13:00 UTC; from pysteps-data",
        "region": "Finland, 57.9 to 69.3 N, 15.1 to 34.9 E; Switzerland and around it, 43.6 to "
        "49.5 N, 2.7 to 12.4 E",
        "cell": (-2000.0, 2000.0),
        "licence": "weights BSD-3-Clause; the source of the data, pysteps-data, states no licence",
        "limits": "three episodes of three hours, in January, May and September: no climatology. "
        "Rain drawn freely is too dry (0.81) and its finest waves are too weak (0.66); far "
        "nowcasts are too dry (0.84 after half an hour).",
    },
}
RACES = {"hourly_4km": "hourly", "five_minutes_2km": "five_minutes"}


def scores_of(name: str) -> dict[str, str]:
    facts = json.loads((HERE / f"results/weights_{name}.json").read_text())
    weighted = next(rows for title, rows in facts["ratios"].items() if title.startswith("weighted"))
    found = {
        f"{row}, ratio to the rain learnt": f"{value:.2f} ({low:.2f}, {high:.2f})"
        for row, (value, low, high) in weighted.items()
    }
    if name in RACES:
        race = json.loads((HERE / f"results/nowcast_race_{RACES[name]}.json").read_text())
        summary = race["cases_summary"]["forecasts"]
        for method in ("model", "persistence"):
            crps = summary[method]["crps"]
            said = [f"{crps[part][-1]:.3f}" for part in ("value", "low", "high")]
            found[f"CRPS of nowcasts of six frames never learnt, mm/h, {method}"] = (
                f"{said[0]} ({said[1]}, {said[2]})"
            )
    return found


def training_of(name: str) -> dict[str, object]:
    facts = json.loads((HERE / f"results/weights_{name}.json").read_text())
    wanted = ("steps", "batch_size", "minutes", "device")
    return {key: facts[key] for key in wanted} | {"made_by": "benchmarks/weights.py"}


def main() -> None:
    for name, said in SAID.items():
        file = WEIGHTS / f"{name}.safetensors"
        model = PrecipDiffusion.load(file).model_
        card = ModelCard.of(
            model.window, model.template, training_of(name), {**said, "scores": scores_of(name)}
        )
        file.with_suffix(".card.json").write_text(card.to_json(), encoding="utf-8")
        print(f"{name}\n{card}\n")


if __name__ == "__main__":
    main()
