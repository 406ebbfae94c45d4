"""Speed and learning of our network next to those of other packages, at equal size.

    python benchmarks/training_speed.py [--quick] [--part speed|rates|learning|all] [--data FILE]
                                        [--networks WORD ...] [--seeds N] [--longer SECONDS]

Every network has the number of parameters of our `small` within 10 %, sees batches of shape
(4, 1, 8, 32, 32), and lives in a process of its own with one thread. A training step is forward,
backward and AdamW.

Speed: rounds A-B-C-...-A-B-C-..., in each of which every process times its steps and evaluations
and the machine's peak (the faster of a large matrix product and a convolution of 128 channels) in
processor seconds. Floating-point operations are counted by torch. Where nothing is learnt in the
same run, no process gives freed memory back (glibc's MALLOC_TRIM_THRESHOLD_), which is faster for
all. Packages that are not installed are left out and named; after torch they are brought by

    pip install '.[benchmarks]'
    pip install --no-deps denoising-diffusion-pytorch video-diffusion-pytorch

Learning (needs the MRMS file): the same windows of hourly rain in the same order, square root, unit
variance, the same noise, v-loss, AdamW and averaging of weights, for equal processor seconds, also
in turns; then the v-loss of the average on later hours, the same windows and noise for all. Ours
runs with and without its `WienerSkip`, since that could be put around any network, and as it is
fitted by default, with a `MixtureSkip` and Muon; the losses of ours are also looked at on the way.
A seed changes weights, windows and noise of the training; the held-out windows are the same for all
seeds, and the margin to the best other network is taken window by window. With --longer the last
seed of ours and of the two best others goes on to so many seconds.

Rates: each network learns at each of three learning rates on the first 38 hours and is judged on
the hours 40 to 48, which the race trains on and is not judged on; the race takes the better one,
and 1e-3 where this was not run.

The last line is a JSON summary; without --quick everything is stored in benchmarks/results/, where
the results of parts and networks that were not run now are kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from training_speed_peers import N_FRAMES, PEERS, SIDE, count

from skdiffuse.cubes import open_cube, validate_cube
from skdiffuse.diffusion import ShiftedCosineSchedule, v_loss
from skdiffuse.networks import MixturePrior, build_network, fit_mixture, mean_power
from skdiffuse.training import PowerAverage, WindowBatches
from skdiffuse.training.muon import Muon, are_matrices

RESULTS = Path(__file__).parent / "results" / "training_speed.json"
MRMS = "mrms_qpe01h_west_4km_20160920-22.nc"
# The first two differ from the others in the network alone; the last is what `fit` trains.
OURS = ("skdiffuse small", "skdiffuse without WienerSkip", "skdiffuse small, mixture and Muon")
BATCH = 4
# Hours trained on and hours judged by.
RACE_HOURS, RATE_HOURS = ((0, 48), (54, 72)), ((0, 38), (40, 48))
SCHEDULE = ShiftedCosineSchedule(-2.0)
LEARNING_RATES, WARM_UP_STEPS = (1e-3, 3e-4, 1e-4), 20
N_HELD_OUT = 64
# Freed memory stays with the process (glibc), so that pages need not be asked for in every step.
KEEP_MEMORY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=("speed", "rates", "learning", "all"), default="all")
    parser.add_argument("--networks", nargs="+", default=[""], help="parts of their names")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="processor seconds of learning for each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longer", type=float, default=0.0, help="seconds for the best, one seed")
    folder = os.environ.get("SKDIFFUSE_TEST_DATA", Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--data", type=Path, default=Path(folder) / MRMS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        Worker(arguments.worker, arguments.data).serve()
        return

    learning = arguments.part != "speed" and not arguments.quick
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if learning and not arguments.data.exists():
        print(f"{arguments.data} is not here: nothing is learnt (--data).")
        learning = False
    race = Race(arguments.data, arguments.networks, keep_memory=not learning)
    new = {
        "conditions": {
            "torch": torch.__version__,
            "threads": 1,
            "batch": [BATCH, 1, N_FRAMES, SIDE, SIDE],
            "absent": race.absent,
        }
    }
    if arguments.part in ("speed", "all"):
        new["speed"] = race.speed(arguments.rounds or (1 if arguments.quick else 3))
    if learning:
        new["rates"] = stored.get("rates", {})
    if learning and arguments.part in ("rates", "all"):
        new["rates"] = new["rates"] | race.rates(arguments.seconds or 25.0)
    if learning and arguments.part in ("learning", "all"):
        best = {name: min(losses, key=losses.get) for name, losses in new["rates"].items()}
        new["learning"] = race.learning(arguments.seconds or 100.0, arguments.seeds, best)
        if arguments.longer:
            store(stored | new)
            new["learning"]["longer"] = race.longer(new["learning"]["networks"], arguments.longer)
    race.close()
    if not arguments.quick:
        new = stored | new
        store(new)
    print(json.dumps(summary(new)))


def store(results: dict) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


class Race:
    """The parent: asks one process after the other, so that all see the same machine."""

    def __init__(self, data: Path, words: list[str], keep_memory: bool) -> None:
        self.workers: dict[str, subprocess.Popen] = {}
        self.absent: dict[str, str] = {}
        self.sizes: dict[str, dict] = {}
        for name in (*OURS, *PEERS):
            if not any(word in name for word in words):
                continue
            command = [sys.executable, __file__, "--worker", name, "--data", str(data)]
            settings = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            if keep_memory:
                settings |= {name: str(2**32) for name in KEEP_MEMORY}
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | settings,
            )
            self.workers[name] = worker
            answer = self.ask(name, "hello")
            if "error" in answer:
                print(f"left out: {name}: {answer['error']}")
                self.absent[name] = answer["error"]
                self.workers.pop(name).kill()
            else:
                self.sizes[name] = answer

    def ask(self, name: str, question: str, value: float | dict = 0.0) -> dict:
        worker = self.workers[name]
        worker.stdin.write(json.dumps([question, value]) + "\n")
        worker.stdin.flush()
        for line in worker.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {"error": f"the process ended with status {worker.wait()}"}

    def speed(self, n_rounds: int) -> dict:
        answers = {name: [] for name in self.workers}
        for number in range(n_rounds):
            for name in self.workers:
                answers[name].append(self.ask(name, "time"))
            print(f"round {number + 1} of {n_rounds} done", flush=True)
        table = {}
        print(f"{'':44s}     M  GFLOP  step s (spread)   GFLOP/s (peak)  evaluation s")
        for name, rounds in answers.items():
            steps = [r["step"] for r in rounds]
            row = self.sizes[name] | {
                "step_seconds": min(steps),
                "step_seconds_median": statistics.median(steps),
                "step_seconds_max": max(steps),
                "evaluation_seconds": min(r["evaluation"] for r in rounds),
                "peak_gflops": max(r["peak"] for r in rounds),
            }
            row["gflops"] = row["step_gflop"] / row["step_seconds"]
            table[name] = row
        # One machine, one peak: the best that anyone saw in this window.
        peak = max(row["peak_gflops"] for row in table.values())
        for name, row in table.items():
            row["peak_fraction"] = row["gflops"] / peak
            print(
                f"{name:44s} {row['parameters'] / 1e6:5.2f} {row['step_gflop']:6.1f}  "
                f"{row['step_seconds']:.3f} (..{row['step_seconds_max']:.3f})  "
                f"{row['gflops']:6.0f} ({row['peak_fraction']:.0%} of {peak:.0f})  "
                f"{row['evaluation_seconds']:.3f}"
            )
        return {"rounds": n_rounds, "peak_gflops": peak, "networks": table}

    def rates(self, seconds: float) -> dict:
        """Loss on the hours 40 to 48 of each network at each learning rate."""
        table = {name: {} for name in self.workers}
        for rate in LEARNING_RATES:
            for name in self.workers:
                self.ask(name, "begin", {"seed": 0, "rate": rate, "hours": RATE_HOURS})
                print(f"{rate:.0e}, ", end="")
                table[name][str(rate)] = self._look(name, seconds)["loss"]
        return table

    def learning(self, seconds: float, n_seeds: int, best: dict) -> dict:
        rates = {name: float(best.get(name, LEARNING_RATES[0])) for name in self.workers}
        table = {name: [] for name in self.workers}
        for seed in range(n_seeds):
            for name, rate in rates.items():
                self.ask(name, "begin", {"seed": seed, "rate": rate, "hours": RACE_HOURS})
                table[name].append({"rate": rate, "looks": []})
                if name == OURS[0]:
                    table[name][-1]["looks"].append(self._look(name, 0.0))
            for share in (0.25, 0.5, 1.0):
                for name in self.workers:
                    if share == 1.0 or name in OURS:
                        table[name][-1]["looks"].append(self._look(name, share * seconds))
                    else:
                        self.ask(name, "learn", share * seconds)
        margins = self._margins(table)
        for runs in table.values():
            for look in (look for run in runs for look in run["looks"]):
                del look["losses"]
        return {
            "data": MRMS,
            "hours": RACE_HOURS,
            "held_out_windows": N_HELD_OUT,
            "margins": margins,
            "networks": table,
        }

    def longer(self, table: dict, seconds: float) -> dict:
        """Go on with the last seed of ours and of the two best others."""
        final = {name: runs[-1]["looks"][-1]["loss"] for name, runs in table.items()}
        peers = sorted((name for name in table if name not in OURS), key=final.get)
        looks = {name: self._look(name, seconds) for name in (OURS[0], *peers[:2])}
        for look in looks.values():
            del look["losses"]
        return looks

    def _look(self, name: str, until: float) -> dict:
        """Let it learn until so many seconds in all, and judge it."""
        look = self.ask(name, "learn", until) | self.ask(name, "judge")
        look["loss"] = statistics.fmean(look["losses"])
        print(
            f"{name:44s} {look['seconds']:6.1f} s {look['steps']:5d} steps, "
            f"held-out v-loss {look['loss']:.4f}",
            flush=True,
        )
        return look

    @staticmethod
    def _margins(table: dict) -> dict:
        """By how much the loss of the best other network is larger, over the same windows.

        The best is that of the least mean over seeds. The standard error is that over windows, of
        the differences averaged over seeds, which says nothing about other weather.
        """

        def by_window(name: str) -> np.ndarray:
            return np.mean([run["looks"][-1]["losses"] for run in table[name]], axis=0)

        peers = [name for name in table if name not in OURS]
        if not peers:
            return {}
        best = min(peers, key=lambda name: by_window(name).mean())
        margins = {}
        for name in OURS:
            if name in table:
                difference = by_window(best) - by_window(name)
                error = difference.std(ddof=1) / len(difference) ** 0.5
                margins[name] = {
                    "best_other": best,
                    "margin": float(difference.mean()),
                    "standard_error": float(error),
                }
        return margins

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stdin.close()
            worker.wait()


class Worker:
    """One network in a process of its own."""

    def __init__(self, name: str, data: Path) -> None:
        self.name = name
        self.data_file = data
        torch.set_num_threads(1)

    def serve(self) -> None:
        for line in sys.stdin:
            question, value = json.loads(line)
            try:
                answer = getattr(self, question)(value)
            except (ImportError, RuntimeError, PackageNotFoundError) as error:
                # diffusers raises RuntimeError where one of its own imports fails.
                answer = {"error": str(error).strip().split("\n")[0]}
            print(json.dumps(answer), flush=True)

    def hello(self, _: float) -> dict:
        """Make the network and count what it costs."""
        torch.manual_seed(0)
        self.network = make_network(self.name)
        generator = torch.Generator().manual_seed(0)
        self.example = torch.randn(BATCH, N_FRAMES, SIDE, SIDE, generator=generator)
        self.noise = torch.randn(self.example.shape, generator=generator)
        self.log_snr = SCHEDULE.draw(BATCH, generator)
        with FlopCounterMode(display=False) as evaluation, torch.no_grad():
            self.network(self.example, self.log_snr)
        with FlopCounterMode(display=False) as step:
            v_loss(self.network, self.example, self.log_snr, self.noise).mean().backward()
        self.network.zero_grad()
        package = self.name.split()[0]
        return {
            "version": version(package),
            "parameters": count(self.network),
            "step_gflop": step.get_total_flops() / 1e9,
            "evaluation_gflop": evaluation.get_total_flops() / 1e9,
        }

    def time(self, _: float) -> dict:
        """Best of a few steps and evaluations, and the peak of the same moment."""
        # Weights stay as they are, for what is learnt later.
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=0.0, weight_decay=0.0, fused=True
        )

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            v_loss(self.network, self.example, self.log_snr, self.noise).mean().backward()
            optimizer.step()

        def evaluate() -> None:
            with torch.no_grad():
                self.network(self.example, self.log_snr)

        first = processor_seconds(step)
        repeats = 1 if first > 2.5 else 3
        return {
            "step": min(processor_seconds(step) for _ in range(repeats)),
            "evaluation": min(processor_seconds(evaluate) for _ in range(repeats)),
            "peak": machine_peak(),
        }

    def begin(self, run: dict) -> dict:
        """Start a training from nothing."""
        self.seed, self.rate = run["seed"], run["rate"]
        self._read_data(*(slice(*hours) for hours in run["hours"]))
        torch.manual_seed(self.seed)
        self.network = make_network(self.name, self.power, self.prior)
        if self.name == OURS[2]:
            group = {"params": list(self.network.parameters()), "weight_decay": 0.01}
            group["matrices"] = are_matrices(self.network)
            self.optimizer = Muon([group], lr=self.rate, betas=(0.9, 0.99))
        else:
            self.optimizer = torch.optim.AdamW(
                self.network.parameters(), lr=self.rate, betas=(0.9, 0.99), fused=True
            )
        self.average = PowerAverage(self.network)
        self.steps, self.seconds = 0, 0.0
        return {}

    def learn(self, until: float) -> dict:
        """Train until so many processor seconds in all."""
        while self.seconds < until:
            start = time.process_time()
            self._learn_one_step()
            self.seconds += time.process_time() - start
        return {"seconds": self.seconds, "steps": self.steps}

    def _learn_one_step(self) -> None:
        rain, weights = self.windows(self.steps)
        x = self._encode(rain)
        generator = torch.Generator().manual_seed(10**6 * self.seed + self.steps)
        log_snr, noise = SCHEDULE.draw(BATCH, generator), torch.randn(x.shape, generator=generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, (self.steps + 1) / WARM_UP_STEPS)
        self.optimizer.zero_grad(set_to_none=True)
        losses = v_loss(self.network, x, log_snr, noise, mask=torch.isfinite(x))
        (weights * losses).mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self.average.update(self.network, self.steps)

    @torch.no_grad()
    def judge(self, _: float) -> dict:
        """Losses of the averaged network on the held-out windows."""
        losses = []
        for x, weights, log_snr, noise in self.held_out:
            each = v_loss(self.average.network, x, log_snr, noise, mask=torch.isfinite(x))
            losses += (weights * each).tolist()
        return {"losses": losses}

    def _encode(self, rain: Tensor) -> Tensor:
        return (rain.sqrt() - self.centre) / self.scale

    def _read_data(self, train_hours: slice, held_out_hours: slice) -> None:
        rain = open_cube(self.data_file).load()
        train = rain[train_hours]
        latent = np.sqrt(train.values)
        self.centre, self.scale = float(np.nanmean(latent)), float(np.nanstd(latent))
        self.windows = windows_of(train, BATCH, self.seed)
        batches = [self.windows(2**31 + i) for i in range(64)]
        weights = [w for _, w in batches]
        self.power = mean_power((self._encode(r) for r, _ in batches), weights)
        rates = [r for r, _ in batches]
        latents = map(self._encode, rates)
        self.prior, _ = fit_mixture(latents, weights, 8, rates=rates, n_parts=3)
        held_out, weights = windows_of(rain[held_out_hours], N_HELD_OUT, 0)(0)
        x = self._encode(held_out)
        generator = torch.Generator().manual_seed(1)
        log_snr = SCHEDULE.draw(N_HELD_OUT, generator)
        noise = torch.randn(x.shape, generator=generator)
        order = torch.randperm(N_HELD_OUT, generator=generator)
        self.held_out = [(x[i], weights[i], log_snr[i], noise[i]) for i in order.split(8)]


def windows_of(rain, batch_size: int, seed: int) -> WindowBatches:
    """Wet places more often than dry ones, with weights that undo it."""
    cube = validate_cube(rain, n_frames=N_FRAMES)
    return WindowBatches(cube, N_FRAMES, (SIDE, SIDE), batch_size, seed, n_candidates=4)


def make_network(
    name: str, power: Tensor | None = None, prior: MixturePrior | None = None
) -> nn.Module:
    """A network, with a skip of nothing where only its size is asked for."""
    if power is None:
        power = torch.ones(N_FRAMES, SIDE, SIDE)
    if prior is None:
        prior = MixturePrior(torch.ones(1), torch.zeros(1), power[None])
    ours = build_network("small", power=power)
    if name == OURS[0]:
        return ours
    if name == OURS[1]:
        return build_network("small")
    if name == OURS[2]:
        return build_network("small", prior=prior)
    return PEERS[name](count(ours))


def processor_seconds(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def machine_peak() -> float:
    """GFLOP/s of a matrix product and of a convolution that fit the machine: the faster one."""
    matrix = torch.ones(1024, 1024)
    convolution = nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
    fields = torch.ones(32, 128, 16, 16).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        product = min(processor_seconds(lambda: matrix @ matrix) for _ in range(5))
        convolved = min(processor_seconds(lambda: convolution(fields)) for _ in range(5))
    return max(2 * 1024**3 / product, 2 * 32 * 16 * 16 * 9 * 128 * 128 / convolved) / 1e9


def summary(results: dict) -> dict:
    networks = results["speed"]["networks"] if "speed" in results else {}
    line = {"threads": 1, "absent": sorted(results["conditions"]["absent"])}
    # None without any of the others.
    line["step_ratio_vs_fastest_peer"] = None
    peers = {name: row for name, row in networks.items() if name not in OURS}
    if networks:
        line["peak_fraction"] = round(networks[OURS[0]]["peak_fraction"], 3)
    if peers:
        fastest = min(peers, key=lambda name: peers[name]["step_seconds"])
        ours = networks[OURS[0]]
        ratio = peers[fastest]["step_seconds"] / ours["step_seconds"]
        evaluation = min(row["evaluation_seconds"] for row in peers.values())
        line["fastest_peer"] = fastest
        line["step_ratio_vs_fastest_peer"] = round(ratio, 3)
        line["evaluation_ratio_vs_fastest_peer"] = round(evaluation / ours["evaluation_seconds"], 3)
    if "learning" in results:
        line["held_out_v_loss"] = {
            name: round(statistics.fmean(run["looks"][-1]["loss"] for run in runs), 4)
            for name, runs in results["learning"]["networks"].items()
        }
        line["margins"] = results["learning"]["margins"]
    return line


if __name__ == "__main__":
    main()
