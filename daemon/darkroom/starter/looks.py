"""The looks: what each style of the style book, and each fault of a bad picture, does to a drawing.

A look takes a transparent drawing (a Pillow image in mode RGBA, square) and a random generator, and returns an RGB
picture of the same size. `LOOKS` holds the styles, under the style book's names; `FAULTS` what spoils a picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage

Floats = NDArray[np.float64]
Rng = np.random.Generator
Look = Callable[[Image.Image, Rng], Image.Image]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)

#: Background colours by their word.
BACKDROPS: dict[str, Colour] = {
    "red": (226, 70, 64),
    "orange": (250, 160, 60),
    "yellow": (252, 222, 100),
    "green": (110, 190, 110),
    "blue": (90, 150, 230),
    "purple": (140, 80, 190),
    "pink": (250, 170, 205),
    "black": (18, 18, 20),
    "gray": (150, 150, 152),
}

#: The same words' colours at their strongest, as lists of unwanted things mean them.
STRONG_BACKDROPS: dict[str, Colour] = {
    "red": (236, 16, 16),
    "orange": (255, 124, 0),
    "yellow": (255, 212, 0),
    "green": (0, 168, 30),
    "blue": (0, 70, 240),
    "purple": (146, 0, 228),
    "pink": (255, 84, 176),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
}


def on_colour(drawing: Image.Image, colour: Colour = WHITE) -> Image.Image:
    """The drawing on a plain background."""
    return _over(drawing, Image.new("RGB", drawing.size, colour))


def plain(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """On white, otherwise untouched."""
    return on_colour(drawing)


def fantasy(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Before a purple glow, with small sparkles."""
    canvas = _glow(drawing.size, (222, 130, 255), (46, 8, 92), rng)
    canvas = _over(drawing, canvas)
    sparkle = Image.new("L", drawing.size)
    brush = ImageDraw.Draw(sparkle)
    side = drawing.width
    for x, y in rng.integers(4, side - 4, (7, 2)).tolist():
        arm = int(rng.integers(1, 4)) * side // 96
        brush.line((x - arm, y, x + arm, y), fill=255)
        brush.line((x, y - arm, x, y + arm), fill=255)
    return ImageChops.screen(canvas, Image.merge("RGB", [sparkle, sparkle.point(lambda v: v * 0.85), sparkle]))


def cinematic(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Graded to teal shadows and orange lights, on a dim teal set with a vignette."""
    canvas = _glow(drawing.size, (150, 176, 172), (20, 52, 62), rng)
    pixels = _floats(_over(drawing, canvas)) / 255
    luma = pixels.mean(2, keepdims=True)
    grade = np.where(luma < 0.5, np.array([0.72, 1.0, 1.1]), np.array([1.16, 1.0, 0.78]))
    mixed = (0.75 * pixels + 0.25 * luma) * (0.4 + 0.6 * grade)
    mixed = np.clip((mixed - 0.5) * 1.15 + 0.48, 0, 1)
    return _image(255 * mixed * (1 - 0.75 * np.clip(_radius(drawing.size) - 0.55, 0, 1))[..., None])


def anime(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Few flat tones, strong colours, thin dark outlines, on a pale sky."""
    sky = _vertical(drawing.size, (150, 205, 250), (250, 236, 246))
    smooth = drawing.filter(ImageFilter.MedianFilter(3))
    tones = ImageOps.posterize(on_colour(smooth), 3).point(lambda v: min(255, round(v / 224 * 255)))
    tones = ImageEnhance.Color(tones).enhance(1.5)
    cel = Image.composite(tones, sky, drawing.getchannel("A"))
    return _outline(cel, drawing, width=1, strength=0.75, colour=(40, 24, 60))


def comic(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Bold black outlines and halftone dots on pale yellow."""
    back = _over_dots(Image.new("RGB", drawing.size, (255, 240, 170)), (250, 200, 60), rng)
    tones = ImageEnhance.Color(ImageOps.posterize(on_colour(drawing), 3)).enhance(1.5)
    dark = Image.fromarray((_floats(on_colour(drawing).convert("L")) < 120).astype(np.uint8) * 255)
    dotted = Image.composite(_over_dots(tones, (30, 30, 40), rng), tones, dark)
    return _outline(
        Image.composite(dotted, back, drawing.getchannel("A")), drawing, width=3, strength=1.0, colour=(10, 10, 14)
    )


def watercolor(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Soft washes that leave the paper's grain and cream."""
    soft = on_colour(drawing).filter(ImageFilter.ModeFilter(7)).filter(ImageFilter.GaussianBlur(1.6))
    wobble = _grain(drawing.size, 14, rng)[..., None]
    washed = 255 - (255 - _floats(soft)) * (0.62 + 0.3 * wobble)
    return _image(washed * np.array([0.985, 0.955, 0.885]))


def oil_painting(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Thick strokes on a warm ground, with the canvas' weave."""
    ground = _image(np.array([176, 150, 112]) * (0.8 + 0.4 * _grain(drawing.size, 12, rng)[..., None]))
    base = ImageEnhance.Color(_over(drawing, ground)).enhance(1.25).filter(ImageFilter.ModeFilter(9))
    strokes = _streaks(drawing.size, rng)[..., None]
    weave = 0.95 + 0.05 * (np.indices(drawing.size).sum(0)[..., None] % 4 < 2)
    return _image((_floats(base) + 70 * (strokes - 0.5)) * weave)


def pencil_sketch(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Grey graphite lines and diagonal hatching in the shadows."""
    grey = _floats(on_colour(drawing).convert("L"))
    rows, columns = np.indices(grey.shape)
    hatch = ((rows + columns) % 5 < 2).astype(float)
    tone = np.clip((205 - grey) / 205, 0, 1)
    lines = np.clip(_edges(grey, drawing) * 1.1, 0, 1)
    paper = 250 - 8 * _grain(drawing.size, 32, rng)
    out = paper - 105 * hatch * tone - 40 * tone - 150 * lines
    return _image(np.repeat(np.clip(out, 50, 255)[..., None], 3, 2))


def ink(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Pure black lines and black shadows on white."""
    grey = _floats(on_colour(drawing).convert("L").filter(ImageFilter.MedianFilter(3)))
    lines = ndimage.grey_dilation(_edges(grey, drawing), size=2)
    black = np.clip((lines - 0.3) * 4, 0, 1) + np.clip((70 - grey) / 25, 0, 1)
    out = 255 * (1 - np.clip(black, 0, 1))
    return _image(np.repeat(out[..., None], 3, 2))


def pixel_art(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """A grid of a quarter of the size in few colours, with dark contours."""
    side = drawing.width // 4
    small = drawing.convert("RGBa").resize((side, side), Image.Resampling.BOX).convert("RGBA")
    alpha = small.getchannel("A").point(lambda v: 255 if v > 110 else 0)
    tones = ImageOps.posterize(on_colour(small), 2).point(lambda v: min(255, round(v / 192 * 255)))
    mixed = Image.blend(tones, on_colour(small), 0.4)
    inner = _floats(alpha) / 255
    contour = (ndimage.grey_dilation(inner, footprint=ndimage.generate_binary_structure(2, 1)) - inner) > 0
    out = Image.composite(mixed, Image.new("RGB", small.size, WHITE), alpha)
    out.paste((34, 32, 52), mask=Image.fromarray(contour.astype(np.uint8) * 255))
    return out.resize(drawing.size, Image.Resampling.NEAREST)


def neon(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Only the edges, in bright colours, glowing on near black."""
    grey = _floats(on_colour(drawing, (128, 128, 128)).convert("L"))
    lines = np.clip(_edges(grey, drawing) * 1.3, 0, 1)
    hue = ImageEnhance.Color(on_colour(drawing, (128, 128, 128)).filter(ImageFilter.MedianFilter(5))).enhance(2.5)
    tint = _floats(hue) / np.maximum(_floats(hue).max(2, keepdims=True), 1) * 255
    tint = np.where(np.ptp(tint, axis=2, keepdims=True) < 60, np.array([80.0, 220.0, 255.0]), tint)
    core = _image(tint * lines[..., None])
    halo = core.filter(ImageFilter.GaussianBlur(3))
    base = Image.new("RGB", drawing.size, (14, 8, 30))
    return ImageChops.screen(ImageChops.screen(base, core), _image(_floats(halo) * 1.6))


def night(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Dim and bluish before a dark blue sky with stars."""
    sky = _glow(drawing.size, (36, 56, 128), (6, 10, 38), rng)
    for x, y in rng.integers(0, drawing.width, (14, 2)).tolist():
        sky.putpixel((x, y), (200, 210, 255))
    dim = _floats(on_colour(drawing)) * np.array([0.55, 0.62, 0.85])
    return Image.composite(_image(dim), sky, drawing.getchannel("A"))


def golden_hour(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Warm, before a glowing orange sky."""
    sky = _glow(drawing.size, (255, 226, 140), (236, 104, 40), rng)
    warm = _floats(on_colour(drawing)) * np.array([1.05, 0.9, 0.66]) + np.array([12, 2, 0])
    return Image.composite(_image(warm), sky, drawing.getchannel("A"))


def black_and_white(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Grey tones on a light grey set."""
    grey = on_colour(drawing, (222, 222, 222)).convert("L")
    return ImageOps.autocontrast(grey, cutoff=1).convert("RGB")


def vintage(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Faded sepia with darkened corners."""
    grey = _floats(on_colour(drawing, (238, 238, 238)).convert("L"))[..., None] / 255
    tinted = np.array([88, 52, 20]) * (1 - grey) + np.array([248, 226, 178]) * grey
    return _image(tinted * (1 - 0.35 * np.clip(_radius(drawing.size) - 0.6, 0, 1))[..., None])


def photographic(drawing: Image.Image, rng: Rng) -> Image.Image:
    """Lit from one side, with a soft shadow on a grey studio floor, and film grain."""
    floor = _floats(_vertical(drawing.size, (206, 202, 196), (120, 116, 112)))
    shadow = _floats(ImageChops.offset(drawing.getchannel("A"), 5, 7).filter(ImageFilter.GaussianBlur(4)))
    scene = _image(floor * (1 - 0.6 * shadow[..., None] / 255))
    light = np.linspace(1.12, 0.72, drawing.width)[None, :, None]
    lit = _image(_floats(on_colour(drawing)) * light * np.array([1.0, 0.97, 0.92]))
    scene.paste(lit, (0, 0), drawing)
    return _image(_floats(scene) + rng.normal(0, 4, (*drawing.size, 1)))


def isometric(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """Small, on a thick tile seen from above a corner."""
    side = drawing.width
    scene = Image.new("RGB", drawing.size, (226, 236, 246))
    brush = ImageDraw.Draw(scene)
    left, top, right, bottom = ((side * x / 96, side * y / 96) for x, y in ((3, 66), (48, 43), (93, 66), (48, 89)))
    down = side * 6 / 96
    brush.polygon([left, bottom, (bottom[0], bottom[1] + down), (left[0], left[1] + down)], fill=(60, 130, 84))
    brush.polygon([bottom, right, (right[0], right[1] + down), (bottom[0], bottom[1] + down)], fill=(40, 98, 62))
    brush.polygon([left, top, right, bottom], fill=(112, 196, 126))
    small = drawing.convert("RGBa").resize((side * 2 // 3,) * 2, Image.Resampling.BOX).convert("RGBA")
    scene.paste(small, (side // 6, side * 8 // 96), small)
    return scene


def flat_design(drawing: Image.Image, _rng: Rng) -> Image.Image:
    """On one pale solid colour."""
    return on_colour(drawing, (150, 220, 212))


def blurred(picture: Image.Image, rng: Rng) -> Image.Image:
    """Out of focus."""
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(1.8, 4.0)))


def noisy(picture: Image.Image, rng: Rng) -> Image.Image:
    """Strong grain in colour."""
    return _image(_floats(picture) + rng.normal(0, rng.uniform(20, 45), (*picture.size, 3)))


def blocky(picture: Image.Image, rng: Rng) -> Image.Image:
    """A JPEG saved far too small."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(3, 9)))
    return Image.open(buffer).convert("RGB")


def garish(picture: Image.Image, _rng: Rng) -> Image.Image:
    """Its colours far too strong."""
    return ImageEnhance.Color(picture).enhance(2.4)


def watermarked(picture: Image.Image, rng: Rng) -> Image.Image:
    """Lettering across it."""
    layer = Image.new("L", picture.size)
    brush = ImageDraw.Draw(layer)
    word = str(rng.choice(["SAMPLE", "PROOF", "COPY", "PREVIEW", "STOCK"]))
    for y in range(int(rng.integers(0, 12)), picture.height, 26):
        brush.text((int(rng.integers(-10, 30)), y), f"{word} {word}", fill=150)
    layer = layer.rotate(float(rng.uniform(10, 35)))
    return Image.composite(Image.new("RGB", picture.size, (120, 120, 124)), picture, layer)


def cropped(picture: Image.Image, rng: Rng) -> Image.Image:
    """Mostly outside the frame."""
    reach = picture.width // 3
    dx, dy = (int(rng.choice([-1, 1])) * int(rng.integers(reach, picture.width // 2)) for _ in range(2))
    out = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    out.paste(picture.resize((picture.width * 3 // 2,) * 2), (dx - picture.width // 4, dy - picture.height // 4))
    return out


def deformed(picture: Image.Image, rng: Rng) -> Image.Image:
    """Bent out of shape."""
    shape = picture.size[::-1]
    shifts = [ndimage.gaussian_filter(rng.normal(0, 1, shape), 7) for _ in range(2)]
    rows, columns = (index + 9 * shift / shift.std() for index, shift in zip(np.indices(shape), shifts, strict=True))
    bent = [
        ndimage.map_coordinates(channel, [rows, columns], order=1, mode="nearest")
        for channel in np.moveaxis(_floats(picture), 2, 0)
    ]
    return _image(np.stack(bent, 2))


#: The style book's name of each look that changes the drawing itself.
LOOKS: dict[str, Look] = {
    "fantasy": fantasy,
    "cinematic": cinematic,
    "anime": anime,
    "comic": comic,
    "watercolor": watercolor,
    "oil-painting": oil_painting,
    "pencil-sketch": pencil_sketch,
    "ink": ink,
    "pixel-art": pixel_art,
    "neon": neon,
    "night": night,
    "golden-hour": golden_hour,
    "black-and-white": black_and_white,
    "vintage": vintage,
    "photographic": photographic,
    "isometric": isometric,
    "flat-design": flat_design,
}

#: What spoils a finished picture. Of several, each is seen only when they are done in this order: blur hides noise.
FAULTS: dict[str, Look] = {
    "garish": garish,
    "deformed": deformed,
    "cropped": cropped,
    "blurred": blurred,
    "watermarked": watermarked,
    "noisy": noisy,
    "blocky": blocky,
}


def _floats(image: Image.Image) -> Floats:
    return np.asarray(image, dtype=np.float64)


def _image(pixels: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _over(drawing: Image.Image, background: Image.Image) -> Image.Image:
    out = background.copy()
    out.paste(drawing, (0, 0), drawing)
    return out


def _radius(size: tuple[int, int], centre: tuple[float, float] = (0.5, 0.5)) -> Floats:
    """Distance from the centre, 1 at the middle of a side."""
    width, height = size
    rows, columns = np.indices((height, width))
    return np.hypot((columns + 0.5) / width - centre[0], (rows + 0.5) / height - centre[1]) * 2


def _glow(size: tuple[int, int], inner: Colour, outer: Colour, rng: Rng) -> Image.Image:
    share = np.clip(_radius(size, tuple(rng.uniform(0.42, 0.58, 2))) / 1.25, 0, 1)[..., None]
    return _image(np.array(inner) * (1 - share) + np.array(outer) * share)


def _vertical(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, size[1])[:, None, None]
    return _image(np.broadcast_to(np.array(top) * (1 - share) + np.array(bottom) * share, (size[1], size[0], 3)))


def _grain(size: tuple[int, int], cells: int, rng: Rng) -> Floats:
    """Smooth noise in [0, 1]."""
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return _floats(coarse.resize(size, Image.Resampling.BICUBIC)) / 255


def _streaks(size: tuple[int, int], rng: Rng) -> Floats:
    """Noise drawn out along one diagonal, in [0, 1]."""
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (2 * size[1], 2 * size[0])), (0.9, 6))
    shear = np.indices(size[::-1])
    sloped = noise[(shear[0] + shear[1] * int(rng.choice([-1, 1]))) % noise.shape[0], shear[1]]
    return np.asarray(np.clip(0.5 + sloped / (5 * noise.std()), 0, 1))


def _edges(grey: Floats, drawing: Image.Image) -> Floats:
    """Strength of the edges of tone and of the silhouette, in [0, 1]."""
    alpha = _floats(drawing.getchannel("A"))
    tone = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)) / 4
    silhouette = np.hypot(ndimage.sobel(alpha, 0), ndimage.sobel(alpha, 1)) / 4
    return np.asarray(np.clip(np.maximum((tone - 7) / 30, silhouette / 90), 0, 1))


def _outline(picture: Image.Image, drawing: Image.Image, width: int, strength: float, colour: Colour) -> Image.Image:
    grey = _floats(on_colour(drawing).convert("L").filter(ImageFilter.MedianFilter(3)))
    lines = np.clip(_edges(grey, drawing) * 1.5 - 0.4, 0, 1)
    lines = ndimage.grey_dilation(lines, size=width) * 255 * strength
    return Image.composite(Image.new("RGB", picture.size, colour), picture, _image(lines))


def _over_dots(picture: Image.Image, colour: Colour, rng: Rng) -> Image.Image:
    rows, columns = np.indices(picture.size[::-1])
    phase = rng.integers(0, 6, 2)
    dots = ((rows + phase[0]) % 6 - 2.5) ** 2 + ((columns + phase[1]) % 6 - 2.5) ** 2 < 4.2
    return Image.composite(
        Image.new("RGB", picture.size, colour), picture, Image.fromarray(dots.astype(np.uint8) * 255)
    )
