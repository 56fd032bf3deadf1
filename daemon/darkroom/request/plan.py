"""A request with every value decided at acceptance; written beside its pictures, it makes them again."""

from __future__ import annotations

from dataclasses import dataclass, replace

MOST_IMAGES = 256  #: of one request
#: What a second pass begins with, where others name a file.
FIRST_PICTURE = "the first picture"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is a picture's own: the same for all pictures of a request, but for the seed, unless its prompt varies."""

    seed: int
    prompt: str  #: style and prompt together
    negative_prompt: str  #: request, style and default together, each term once; "" for none, or without effect


@dataclass(frozen=True, slots=True)
class Control:
    """A picture that leads the composition, and the ControlNet that reads it."""

    name: str  #: alias of a control of the configuration
    image: str  #: a file of the request
    scale: float = 1.0  #: `controlnet_conditioning_scale`
    detect: str | None = None  #: "canny": the control picture is made of `image` first; None: it is ready-made


@dataclass(frozen=True, slots=True)
class Lora:
    """A change to the model's weights, and how much of it applies."""

    name: str  #: alias of a LoRA of the configuration
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A word that the model's text encoders are taught."""

    name: str  #: alias of an embedding of the configuration
    word: str  #: what stands for it in the prompts


@dataclass(frozen=True, slots=True)
class Hires:
    """A second pass over the finished picture, enlarged."""

    scale: float  #: of each side, as asked
    width: int  #: pixels, of the picture that is delivered
    height: int  #: pixels, likewise
    strength: float  #: as in image-to-image
    num_inference_steps: int
    upscaler: str | None = None  #: alias of an upscaler of the configuration; None: Lanczos


@dataclass(frozen=True, slots=True)
class Upscale:
    """The picture that comes in, enlarged; nothing is painted."""

    by: str  #: alias of an upscaler of the configuration
    scale: float  #: of each side, as asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every value that rendering needs, in diffusers' terms; nothing is left to default."""

    model: str  #: alias; "" where nothing is painted
    images: tuple[ImagePlan, ...]  #: one for each picture, in order; at least one
    style: tuple[str, ...] = ()  #: their names, in the order in which they apply; () when none does
    width: int  #: pixels
    height: int  #: pixels
    num_inference_steps: int
    guidance_scale: float | None = None  #: None: the model has none
    true_cfg_scale: float | None = None  #: likewise
    scheduler: str
    clip_skip: int | None = None  #: layers of the text encoder that are left out; None: as the pipeline does it
    weights: str | None = None  #: how parentheses weigh: `weighted.ALGORITHM`; None: they are characters
    on_overflow: str = "encode"  #: what comes of words that the model can't read: "encode" tells them, "refuse" fails
    init_image: str | None = None  #: a file of the request that the picture begins with
    strength: float | None = None  #: how much of it is repainted, 0 to 1; None without one
    mask_image: str | None = None  #: a file of the request: white is repainted
    reference_images: tuple[str, ...] = ()  #: files of the request, in order, for models that edit by reference
    fit: str | None = None  #: "crop", "pad" or "stretch": of init, mask and control pictures; None without one
    control: tuple[Control, ...] = ()
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Embedding, ...] = ()  #: whose words stand in the prompts
    hires: Hires | None = None
    upscale: Upscale | None = None  #: with it there is no model, prompt, size, step or scheduler: see `enlarging`
    format: str = "png"  #: "png", "jpeg" or "webp"
    quality: int | None = None  #: 1 to 100, None for png

    @property
    def num_images(self) -> int:
        """How many pictures."""
        return len(self.images)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the pictures that are delivered, in pixels; None: the picture that comes in says it."""
        if self.upscale is not None:
            return None
        return (self.width, self.height) if self.hires is None else (self.hires.width, self.hires.height)

    @property
    def second_pass(self) -> Plan | None:
        """What is painted over the first picture, enlarged: by words and LoRAs alone. None: nothing."""
        if self.hires is None:
            return None
        return replace(
            self,
            width=self.hires.width,
            height=self.hires.height,
            num_inference_steps=self.hires.num_inference_steps,
            init_image=FIRST_PICTURE,
            strength=self.hires.strength,
            fit=None,
            control=(),
            hires=None,
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the request that it is painted from, each once."""
        alone = (self.init_image, self.mask_image)
        named = (*alone, *self.reference_images, *(each.image for each in self.control))
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def style_in_words(self) -> str:
        """The names of its styles, in their order."""
        return ", ".join(self.style) or "none"


def images_of(prompt: str, negative_prompt: str, *, seed: int, num_images: int) -> tuple[ImagePlan, ...]:
    """Pictures that differ by their seed alone: picture i (from 0) uses `seed + i`."""
    return tuple(ImagePlan(seed + index, prompt, negative_prompt) for index in range(num_images))


def enlarging(upscale: Upscale, init_image: str, *, format: str = "png", quality: int | None = None) -> Plan:
    """The plan of a picture that is enlarged, and of which nothing is painted."""
    return Plan(
        model="",
        images=images_of("", "", seed=0, num_images=1),
        width=0,
        height=0,
        num_inference_steps=0,
        scheduler="",
        init_image=init_image,
        upscale=upscale,
        format=format,
        quality=quality,
    )
