"""Measures the starter model: ``python -m darkroom.starter.evaluate --packages node_modules --output docs/starter``.

Writes ``figures.json``, ``table.md`` and contact sheets. Its seeds are used nowhere else: nothing is tuned on them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray
from scipy import ndimage

from darkroom.starter import MODEL_DIR
from darkroom.starter.art import draw_all
from darkroom.starter.autoencoder import PatchAutoencoder
from darkroom.starter.captions import StyleBook
from darkroom.starter.concepts import CONCEPTS, HELD_OUT, Concept
from darkroom.starter.customer import Customer
from darkroom.starter.drawings import COLOURS
from darkroom.starter.fit_autoencoder import encode_all, to_tensor
from darkroom.starter.looks import LOOKS
from darkroom.starter.measures import (
    LookJudge,
    colour_of,
    fringes,
    ground_of,
    look_features,
    mean_difference,
    nearest,
    purpleness,
    red_green_share,
    saturation,
    sharpness,
    signal_to_noise,
    thumbnails,
)
from darkroom.starter.painter import STEPS, Painter
from darkroom.starter.samples import ARTS, Sample, Studio
from darkroom.starter.sheets import write_sheet
from darkroom.starter.unwanted import Measure, try_each, unwanted

log = logging.getLogger(__name__)

Pictures = NDArray[np.uint8]

_FIRST_SEED = 900_000
_REHEARSAL_SEED = 500_000
_SEEDS_PER_CONCEPT = 4
_COLOURED = ("apple", "heart", "car", "balloon", "rose", "fish", "butterfly", "umbrella", "star", "house")
_STYLED = ("apple", "castle", "cat", "rocket", "car", "house", "penguin", "heart")
_PAIRED = (
    "apple", "castle", "cat", "rocket", "car", "house", "penguin", "heart",
    "pizza", "fox", "tree", "balloon", "robot", "fish", "rose", "strawberry",
)  # fmt: skip
_PIXEL_BOUND = 12.0
_NEARLY_WHITE = 235  #: where the neighbourhood of a pixel is lighter on average, it is taken for ground
_TWO_COLOURS = ("red", "yellow", "green", "blue", "purple", "pink")
_TWO_COLOUR_WORDING = "a {colour} {thing} on a {ground} background"
_APART = 70.0  #: a coloured ground is uneven
#: That no caption of the training has.
_OTHER_WORDING = "{colour} {thing} standing before something {ground}"
_LOOK_NAMES = ("plain", "3d-render", *LOOKS)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    at_least: str
    reached: bool


class Examination:
    """All measurements; each adds rows to the table, figures, and a sheet."""

    def __init__(self, folder: Path, packages: Path, styles: Path, output: Path, *, rehearsal: bool = False) -> None:
        """A rehearsal has other seeds and asks for everything trained: it is for deciding what the vocabulary lists."""
        self.folder, self.packages, self.output, self.concepts = folder, packages, output, CONCEPTS
        listed = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))["concepts"]
        self.asked = np.array([i for i, c in enumerate(CONCEPTS) if rehearsal or c.name in listed])
        self.painter = Painter(folder, _REHEARSAL_SEED if rehearsal else _FIRST_SEED)
        self.autoencoder: PatchAutoencoder = self.painter.pipeline.vae
        self.book = StyleBook.read(styles)
        self.studio = Studio(draw_all(packages, [c.icon for c in self.concepts]), self.concepts)
        self.rows: list[Row] = []
        self.figures: dict[str, Any] = {}

    def recognition(self, seeds: int = _SEEDS_PER_CONCEPT) -> None:
        """Whether the training picture nearest to a plain prompt's picture, of all trained things, shows the same."""
        names = [self.concepts[i].name for i in self.asked]
        prompts = [f"a {name}" for name in names for _ in range(seeds)]
        pictures = self.painter.paint(prompts, list(range(len(prompts))))
        usual = self.painter.paint([f"a {name}" for name in names], list(range(len(names))), self.book.default_negative)
        drawn, labels = self._references()
        truth = np.repeat(self.asked, seeds)
        pixels = nearest(thumbnails(pictures), thumbnails(drawn), labels) == truth
        latents = nearest(self._latents(pictures), self._latents(drawn), labels) == truth
        with_negative = nearest(thumbnails(usual), thumbnails(drawn), labels) == self.asked
        for kind, right in (("pixels", pixels), ("latents", latents)):
            what = f"top-1 recognition by {kind}, {len(names)} things x {seeds} seeds"
            self._row(what, f"{right.mean():.1%}", "90 %", right.mean() >= 0.9)
        both = (pixels & latents).reshape(-1, seeds).mean(1)
        self.figures["recognition"] = {
            "pixels": float(pixels.mean()),
            "latents": float(latents.mean()),
            "pixels, with the default negative prompt": float(with_negative.mean()),
            "missed": {name: float(share) for name, share in zip(names, both, strict=True) if share < 1},
        }
        by_thing = pictures.reshape(len(names), seeds, *pictures.shape[1:])
        self._difference(by_thing, drawn, labels)
        self._fringes(pictures)
        marks = [("" if share == 1 else "!") + name for name, share in zip(names, both, strict=True)]
        write_sheet(self.output / "concepts.png", list(by_thing[:, 0]), marks, 16, side_px=80)
        some = range(0, len(names), max(1, len(names) // 12))[:12]
        columns = [(by_thing[i, seed], names[i]) for seed in range(seeds) for i in some]
        write_sheet(self.output / "seeds.png", [p for p, _ in columns], [n for _, n in columns], len(some), side_px=72)

    def colours(self) -> None:
        """Whether a colour word gives that colour."""
        prompts = [f"a {colour} {thing}" for thing in _COLOURED for colour in COLOURS]
        pictures = self.painter.paint(prompts, [10_000 + i for i in range(len(prompts))])
        wanted = [colour for _ in _COLOURED for colour in COLOURS]
        seen = [colour_of(picture) for picture in pictures]
        right = np.array([a == b for a, b in zip(seen, wanted, strict=True)])
        control = self._colour_control()
        self.figures["colours"] = {
            "right": float(right.mean()),
            "control": control,
            "by word": {c: float(right[i :: len(COLOURS)].mean()) for i, c in enumerate(COLOURS)},
        }
        self._row("colour words, nine on ten things", f"{right.mean():.1%}", "90 %", right.mean() >= 0.9)
        marks = [("" if ok else "!") + prompt[2:] for ok, prompt in zip(right, prompts, strict=True)]
        write_sheet(self.output / "colours.png", list(pictures), marks, len(COLOURS), side_px=72)

    def two_colours(self) -> None:
        """Whether the thing has the one colour and the ground the other, with the default negative prompt."""
        pairs = [(a, b) for a in _TWO_COLOURS for b in _TWO_COLOURS if a != b]
        asked = [(thing, *pairs[(11 * i + 5 * k) % len(pairs)]) for i, thing in enumerate(_COLOURED) for k in range(6)]
        self.figures["two colours"] = {"control": self._two_colour_control(asked)}
        for wording, offset in ((_TWO_COLOUR_WORDING, 12_000), (_OTHER_WORDING, 13_000)):
            prompts = [wording.format(thing=thing, colour=colour, ground=ground) for thing, colour, ground in asked]
            seeds = [offset + i for i in range(len(prompts))]
            pictures = self.painter.paint(prompts, seeds, self.book.default_negative)
            both = np.array(
                [
                    (colour_of(picture, _APART), ground_of(picture)) == (colour, ground)
                    for picture, (_, colour, ground) in zip(pictures, asked, strict=True)
                ]
            )
            self.figures["two colours"][wording] = float(both.mean())
            if wording == _TWO_COLOUR_WORDING:
                self._row(f'"{wording}": both right, of {len(asked)}', f"{both.mean():.1%}", "80 %", both.mean() >= 0.8)
                marks = [("" if ok else "!") + f"{c} {t}, {g}" for ok, (t, c, g) in zip(both, asked, strict=True)]
                write_sheet(self.output / "two-colours.png", list(pictures), marks, 12, side_px=80)

    def styles(self) -> None:
        """Whether the picture of a style's own keywords looks like that style's training pictures."""
        names = list(_LOOK_NAMES)
        judge, control = self._look_judge(names)
        asked = [self.book.prompts(name, f"a {thing}") for name in names for thing in _STYLED]
        seeds = [20_000 + i for i in range(len(asked))]
        pictures = self.painter.paint([prompt for prompt, _ in asked], seeds, [negative for _, negative in asked])
        truth = np.repeat(np.arange(len(names)), len(_STYLED))
        right = (judge.judge(look_features(pictures)) == truth).reshape(-1, len(_STYLED)).mean(1)
        works = {name: float(share) for name, share in zip(names, right, strict=True) if name != "plain"}
        count = sum(share >= 0.75 for share in works.values())
        self.figures["styles"] = {"right": works, "plain": float(right[0]), "control": control}
        self._row(f"styles seen in at least 6 of 8 pictures, of {len(works)}", str(count), "14", count >= 14)
        marks = [f"{name} {thing}" for name in names for thing in _STYLED]
        write_sheet(self.output / "styles.png", list(pictures), marks, len(_STYLED), side_px=80)

    def negatives(self) -> None:
        """Whether a negative prompt takes away what it names: pairs with the same seed, without and with it."""
        plain = [f"a {thing}" for thing in _PAIRED]
        magic = [f"{self.book.keywords['fantasy']}, a {thing}" for thing in _PAIRED]
        cases: list[tuple[str, list[str], str, Callable[[Pictures], Any], int]] = [
            ("monochrome, black and white", plain, "raises saturation", saturation, 1),
            ("purple background", magic, "takes the purple away", purpleness, -1),
            (self.book.default_negative, plain, "raises sharpness", sharpness, 1),
        ]
        pictures, marks = [], []
        for offset, (negative, prompts, effect, measure, sign) in enumerate(cases):
            seeds = [30_000 + 100 * offset + i for i in range(len(prompts))]
            without, with_it = self.painter.paint(prompts, seeds), self.painter.paint(prompts, seeds, negative)
            moved = sign * (measure(with_it) - measure(without)) > 0
            name = "default negative prompt" if negative == self.book.default_negative else f'"{negative}"'
            self.figures.setdefault("negatives", {})[name] = int(moved.sum())
            self._row(
                f"negative prompt: {name} {effect}", f"{moved.sum()} of {len(moved)}", "14 of 16", moved.sum() >= 14
            )
            pictures += [*without, *with_it]
            marks += [*_PAIRED, *(f"-{thing}" for thing in _PAIRED)]
        write_sheet(self.output / "negatives.png", pictures, marks, len(_PAIRED), side_px=64)

    def reconstruction(self) -> None:
        """The autoencoder on things it has never seen."""
        unseen = tuple(Concept(icon, icon, (), mirrors=True) for icon in HELD_OUT)
        studio = Studio(draw_all(self.packages, [c.icon for c in unseen]), unseen)
        rng = np.random.default_rng(_FIRST_SEED)
        kinds: list[dict[str, Any]] = [{"art": art} for art in ("noto", "fluent", "flat")]
        kinds += [{"art": "noto", "look": look} for look in ("pixel-art", "ink", "watercolor", "fantasy", "anime")]
        kinds += [{"art": "noto", "faults": ("blurred",)}]
        samples = [Sample(i, **kind) for i in range(len(unseen)) for kind in kinds]
        true = np.stack([np.asarray(studio.draw(sample, rng)) for sample in samples])
        with torch.no_grad():
            seen = torch.cat([self.autoencoder(to_tensor(true[i : i + 40])) for i in range(0, len(true), 40)])
        back = np.rint((seen.clamp(-1, 1).permute(0, 2, 3, 1).numpy() + 1) * 127.5)
        by_kind = {
            " ".join(kind[key] for key in kind if key != "faults") or "blurred": signal_to_noise(
                back[i :: len(kinds)], true[i :: len(kinds)]
            )
            for i, kind in enumerate(kinds)
        }
        ratio, share = signal_to_noise(back, true), red_green_share(back, true)
        self.figures["autoencoder"] = {
            "psnr_db": ratio,
            "red_green": share,
            "pictures": len(true),
            "psnr by kind": by_kind,
        }
        what = f"autoencoder on {len(unseen)} held-out concepts"
        self._row(f"{what}: PSNR", f"{ratio:.1f} dB", "26 dB", ratio >= 26)
        self._row(f"{what}: red-green R²", f"{share:.3f}", "0.95", share >= 0.95)

    def unwanted(self) -> None:
        """Whether each of ten negative prompts is seen beside the default one: asked of a daemon, pairs of one seed."""
        judge, _ = self._look_judge(list(_LOOK_NAMES))

        def likeness(style: str) -> Measure:
            return lambda pictures: judge.likeness(look_features(pictures), _LOOK_NAMES.index(style))

        with Customer() as customer:
            trials = try_each(customer, unwanted(likeness), _PAIRED, _FIRST_SEED + 50_000)
        for trial in trials:
            case, seen = trial.case, int((trial.changes >= 1).sum())
            name = f'"{case.negative}" against "{case.prompt.format("…")}" in style {case.style}'
            self.figures.setdefault("unwanted", {})[name] = {
                "seen": seen,
                "right way": int((trial.changes > 0).sum()),
                "median change": float(np.median(trial.changes) * case.least),
                "least": case.least,
            }
            self._row(f"beside the default: {name}: {case.effect}", f"{seen} of {len(_PAIRED)}", "14 of 16", seen >= 14)
        pictures = [p for trial in trials for side in (trial.without, trial.with_it) for p in side]
        marks = [f"{sign}{thing}" for _ in trials for sign in ("", "-") for thing in _PAIRED]
        write_sheet(self.output / "unwanted.png", pictures, marks, len(_PAIRED), side_px=64)

    def schedulers(self) -> None:
        """Whether other schedulers, made from the folder's configuration, draw the same things."""
        stored = self.painter.pipeline.scheduler
        names = [c.name for c in self.concepts]
        drawn, labels = self._references()
        things = [thing for thing in _PAIRED if thing in names]
        for kind in (EulerDiscreteScheduler, DDIMScheduler, UniPCMultistepScheduler):
            self.painter.pipeline.scheduler = kind.from_config(stored.config)
            pictures = self.painter.paint([f"a {thing}" for thing in things], [40_000 + i for i in range(len(things))])
            found = nearest(thumbnails(pictures), thumbnails(drawn), labels)
            right = sum(names[label] == thing for label, thing in zip(found, things, strict=True))
            self.figures.setdefault("schedulers", {})[kind.__name__] = f"{right} of {len(things)}"
        self.painter.pipeline.scheduler = stored

    def cost(self) -> None:
        """Seconds for a picture on two threads, and the size of the folder."""
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        self.painter.paint(["a red apple"], [0])
        began = time.perf_counter()
        for seed in range(5):
            self.painter.paint(["a red apple"], [seed])
        seconds = (time.perf_counter() - began) / 5
        torch.set_num_threads(threads)
        megabytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / 1e6
        self.figures["cost"] = {"seconds": seconds, "megabytes": megabytes, "cores": os.cpu_count()}
        self._row(f"time for a picture, {STEPS} steps, 2 threads", f"{seconds:.2f} s", "1.5 s", seconds <= 1.5)
        self._row("size of the folder", f"{megabytes:.1f} MB", "20 MB", megabytes <= 20)

    def write(self) -> None:
        """``table.md`` and ``figures.json``."""
        lines = ["| what | measured | at least (time and size: at most) | |", "|---|---|---|---|"]
        lines += [f"| {r.what} | {r.measured} | {r.at_least} | {'yes' if r.reached else 'NO'} |" for r in self.rows]
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        text = json.dumps(self.figures, indent=1, default=float)
        (self.output / "figures.json").write_text(text + "\n", encoding="utf-8")

    def _row(self, what: str, measured: str, at_least: str, reached: Any) -> None:
        self.rows.append(Row(what, measured, at_least, bool(reached)))
        log.info("%s: %s (at least %s)", what, measured, at_least)

    def _references(self) -> tuple[Pictures, NDArray[np.int64]]:
        """Plain training pictures of every concept, placed as in training, and whose they are."""
        rng = np.random.default_rng(_FIRST_SEED + 1)
        kinds = [*["noto"] * 32, *["fluent"] * 4, *["flat"] * 4]
        samples = [Sample(i, art) for i in range(len(self.concepts)) for art in kinds]
        drawn = np.stack([np.asarray(self.studio.draw(sample, rng)) for sample in samples])
        return drawn, np.array([sample.concept for sample in samples])

    def _latents(self, pictures: Pictures) -> NDArray[np.float64]:
        return encode_all(self.autoencoder, pictures).reshape(len(pictures), -1).astype(np.float64)

    def _difference(self, pictures: Pictures, drawn: Pictures, labels: NDArray[np.int64]) -> None:
        """`pictures` is (concepts, seeds, H, W, 3)."""
        mean = float(np.mean([mean_difference(seeds) for seeds in pictures]))
        training = float(np.mean([mean_difference(drawn[labels == i][:4]) for i in self.asked]))
        self.figures["difference"] = {"pictures": mean, "training pictures": training}
        what = f"mean difference of two seeds' pictures, of 255 (training pictures: {training:.1f})"
        self._row(what, f"{mean:.1f}", f"{_PIXEL_BOUND:.0f}", mean >= _PIXEL_BOUND)

    def _fringes(self, pictures: Pictures) -> None:
        """Of plain pictures that should stand on white: no bound, since the first edition's are not measured yet."""
        ground = ndimage.uniform_filter(pictures.min(3).astype(np.float64), (0, 9, 9)) > _NEARLY_WHITE
        self.figures["fringes"] = fringes(pictures, ground)

    def _colour_control(self) -> float:
        """The same measure on rendered pictures of the same things: what it could reach at best."""
        rng = np.random.default_rng(_FIRST_SEED + 2)
        index = {c.name: i for i, c in enumerate(self.concepts)}
        right = [
            colour_of(np.asarray(self.studio.draw(Sample(index[thing], "noto", colour=colour), rng))) == colour
            for thing in _COLOURED
            if thing in index
            for colour in COLOURS
        ]
        return float(np.mean(right))

    def _two_colour_control(self, asked: list[tuple[str, str, str]]) -> float:
        rng = np.random.default_rng(_FIRST_SEED + 4)
        index = {c.name: i for i, c in enumerate(self.concepts)}
        right = []
        for thing, colour, ground in asked:
            sample = Sample(index[thing], "noto", colour=colour, backdrop=ground)
            picture = np.asarray(self.studio.draw(sample, rng))
            right.append((colour_of(picture, _APART), ground_of(picture)) == (colour, ground))
        return float(np.mean(right))

    def _look_judge(self, names: list[str]) -> tuple[LookJudge, float]:
        """A judge of looks, and its share of right answers on rendered pictures that it did not learn from."""
        rng = np.random.default_rng(_FIRST_SEED + 3)
        art = {"3d-render": "fluent", **ARTS}
        chosen = [int(i) for i in rng.permutation(len(self.concepts))[:60]]
        samples = [
            (label, Sample(i, art.get(name, "noto"), look=name if name in LOOKS else None))
            for i in chosen
            for label, name in enumerate(names)
        ]
        labels = np.array([label for label, _ in samples])
        features = look_features(np.stack([np.asarray(self.studio.draw(sample, rng)) for _, sample in samples]))
        half = len(samples) // 2
        held = float((LookJudge(features[:half], labels[:half]).judge(features[half:]) == labels[half:]).mean())
        return LookJudge(features, labels), held


_PARTS = (
    "cost",
    "reconstruction",
    "recognition",
    "colours",
    "two_colours",
    "styles",
    "negatives",
    "unwanted",
    "schedulers",
)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m darkroom.starter.evaluate", description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="the node_modules folder with the icon packages")
    parser.add_argument("--model", type=Path, default=MODEL_DIR, help="the model folder to measure")
    parser.add_argument("--styles", type=Path, default=Path("config/styles.toml"), help="the style book")
    parser.add_argument("--output", type=Path, required=True, help="where the table and the sheets go")
    parser.add_argument("--only", choices=_PARTS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--rehearsal", action="store_true", help="other seeds, and everything trained, listed or not")
    parser.add_argument("--seeds", type=int, default=_SEEDS_PER_CONCEPT, help="seeds per concept")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    examination = Examination(args.model, args.packages, args.styles, args.output, rehearsal=args.rehearsal)
    for part in args.only or _PARTS:
        if part == "recognition":
            examination.recognition(args.seeds)
        else:
            getattr(examination, part)()
        examination.write()


if __name__ == "__main__":
    main()
