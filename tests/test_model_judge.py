"""One judge of a model's files: what can be rendered, what never can, and what somebody has to mend first."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.models.files import Fate
from darkroom.models.judge import OFFLINE_VARIABLES, Judgement, judge, judge_folder, signature, signature_of
from darkroom.models.schedulers import CLASSIC, FACTS, FLOW_FACTS, digest
from darkroom.models.source import ModelSource

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"


def weights(size: int = 8) -> bytes:
    """A whole file of safetensors with one tensor of so many bytes."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def write_json(file: Path, **values: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


def build(folder: Path) -> None:
    """A whole model, without any numbers in it; no folder for what is not needed."""
    folder.mkdir(parents=True)
    write_json(folder / "model_index.json", **INDEX)
    write_json(folder / "unet" / "config.json", in_channels=4, cross_attention_dim=768)
    write_json(folder / "vae" / "config.json", latent_channels=4)
    write_json(folder / "text_encoder" / "config.json", hidden_size=768)
    write_json(folder / "scheduler" / "scheduler_config.json", _class_name="PNDMScheduler", steps_offset=0)
    for name in (UNET, VAE, TEXT):
        (folder / f"{name}.safetensors").write_bytes(weights())
    write_json(folder / "tokenizer" / "vocab.json", cat=0)
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")


def index(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: write_json(folder / "model_index.json", **(INDEX | changes))


def config(part: str, **values: Any) -> Callable[[Path], object]:
    return lambda folder: write_json(folder / part / "config.json", **values)


def without(*names: str) -> Callable[[Path], object]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def rename_weights(ending: str, *names: str) -> Callable[[Path], object]:
    def rename(folder: Path) -> None:
        for name in names or (UNET, VAE, TEXT):
            (folder / f"{name}.safetensors").rename(folder / f"{name}.{ending}")

    return rename


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


def shards(*there: int) -> Callable[[Path], object]:
    def shard(folder: Path) -> None:
        (folder / f"{UNET}.safetensors").unlink()
        names = [f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
        write_json(folder / f"{UNET}.safetensors.index.json", weight_map=dict(zip("ab", names, strict=True)))
        for number in there:
            (folder / "unet" / names[number - 1]).write_bytes(weights())

    return shard


def named_by_index(*names: str) -> Callable[[Path], object]:
    return lambda folder: write_json(folder / f"{UNET}.safetensors.index.json", weight_map=dict(enumerate(names)))


CLIP = "CLIPTextModel"
COPY = "Copy or download the model again"


def encoder(said: object, kind: str, layers: Iterable[int], *, lacks: str = "") -> Callable[[Path], object]:
    """A text encoder whose configuration says so many layers, and its weights."""
    names = [f"text_model.encoder.layers.{layer}.mlp.{each}" for layer in layers for each in ("fc1.weight", "fc2.bias")]
    header = {
        name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for name in names if lacks not in name or not lacks
    }
    raw = json.dumps(header).encode()
    told = config("text_encoder", architectures=[kind], num_hidden_layers=said, hidden_size=768)
    return both(told, write(f"{TEXT}.safetensors", len(raw).to_bytes(8, "little") + raw))


def lone_shard(folder: Path) -> None:
    shards(1)(folder)
    (folder / f"{UNET}.safetensors.index.json").unlink()


def pipe(name: str) -> Callable[[Path], object]:
    """What never ends when it is read."""
    return lambda folder: os.mkfifo(folder / name)


def saved(**values: Any) -> Callable[[Path], object]:
    return lambda folder: write_json(folder / "scheduler" / "scheduler_config.json", **values)


def dangle(name: str) -> Callable[[Path], object]:
    return both(without(name), lambda folder: (folder / name).symlink_to("../../blobs/gone"))


def nothing(_folder: Path) -> None:
    pass


USABLE, NEVER, HELD = Fate.USABLE, Fate.NEVER, Fate.HELD

#: What is done to a whole folder, how the model is configured, what the judge says.
FOLDERS: list[tuple[Callable[[Path], object], dict[str, Any], Fate, str, str]] = [
    (nothing, {}, USABLE, "is in ", ""),
    (index(_class_name="StableDiffusionImg2ImgPipeline"), {}, USABLE, "", ""),
    (index(safety_checker=None), {}, USABLE, "", ""),
    (index(safety_checker=[None, None], feature_extractor=[None, None]), {}, USABLE, "", ""),
    (index(scheduler=["diffusers", "DEISMultistepScheduler"]), {}, USABLE, "", ""),
    (index(scheduler=["diffusers", "DPMSolverSDEScheduler"]), {}, USABLE, "", ""),
    (index(tokenizer=["transformers", "CLIPTokenizerFast"]), {}, USABLE, "", ""),
    (shards(1, 2), {}, USABLE, "", ""),
    (saved(_use_default_values=None, trained_betas=None), {}, USABLE, "", ""),
    (write("unet/README", b"hello"), {}, USABLE, "", ""),
    # never
    (index(_class_name="StableDiffusionXLPipeline"), {}, NEVER, "has no text_encoder_2", "whole"),
    (index(_class_name="StableDiffusionUpscalePipeline"), {}, NEVER, "from words alone", "that does"),
    (index(_class_name="StableDiffusionControlNetPipeline"), {}, NEVER, "from words alone", "that does"),
    (nothing, {"scheduler": "flow_match_euler"}, NEVER, "is not for Stable Diffusion", "Leave `scheduler` out, or set"),
    (nothing, {"true_cfg_scale": 2.0}, NEVER, "has no `true_cfg_scale`", "Leave `true_cfg_scale` out."),
    (index(_class_name=["my_pipeline", "Mine"]), {}, NEVER, "code of its own (my_pipeline.Mine)", "classes of"),
    (index(unet=["my_unet", "UNet2DConditionModel"]), {}, NEVER, "its unet brings code of its own", "classes of"),
    (index(unet=["diffusers", "UNet3DConditionModel"]), {}, NEVER, "UNet3DConditionModel", "family"),
    (index(text_encoder=["transformers", "T5EncoderModel"]), {}, NEVER, "T5EncoderModel", "family"),
    (index(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), {}, NEVER, "FlowMatchEuler", "family"),
    (index(**{"../x": ["diffusers", "AutoencoderKL"]}), {}, NEVER, "names a part '../x'", "diffusers model"),
    (index(unet=[None, None]), {}, NEVER, "has no unet", "whole"),
    (index(tokenizer=None), {}, NEVER, "has no tokenizer", "whole"),
    (write("model_index.json", b"[]"), {}, NEVER, "is not a JSON object", "diffusers model"),
    (write("model_index.json", b"{}"), {}, NEVER, "names no class", "diffusers model"),
    (config("unet", in_channels=9, cross_attention_dim=768), {}, NEVER, "takes 9 channels", "was made from"),
    (config("unet", in_channels=4, addition_embed_type="text_time"), {}, NEVER, "SDXL", "family"),
    (config("text_encoder", hidden_size=1024), {}, NEVER, "768 numbers a token", "two models"),
    (
        lambda folder: write_json(folder / "scheduler" / "scheduler_config.json", prediction_type="flow_prediction"),
        {}, NEVER, "'flow_prediction'", "family",
    ),
    (rename_weights("bin"), {}, NEVER, "there is only diffusion_pytorch_model.bin", "a .bin can run code"),
    (
        both(without(f"{TEXT}.safetensors"), write("text_encoder/pytorch_model.bin", b"pickle")),
        {}, NEVER, "of its text_encoder there is only pytorch_model.bin", "a .bin can run code",
    ),
    (index(safety_checker=None), {"safety_checker": True}, NEVER, "no safety checker", "`safety_checker = false`"),
    # held
    (shutil.rmtree, {}, HELD, "there is no folder", "Mount it"),
    (without("model_index.json"), {}, HELD, "has no model_index.json", "one .safetensors file"),
    (write("model_index.json", b"{"), {}, HELD, "model_index.json is torn", "again"),
    (write("model_index.json", b""), {}, HELD, "model_index.json is torn", "again"),
    (write("unet/config.json", b"[" * 5_000), {}, HELD, "unet/config.json is torn", "again"),
    (dangle("model_index.json"), {}, HELD, "model_index.json is a link to ../../blobs/gone", "cp -L"),
    (dangle(f"{UNET}.safetensors"), {}, HELD, "is a link to ../../blobs/gone", "cp -L"),
    (lambda folder: shutil.rmtree(folder / "vae"), {}, HELD, "the folder vae is missing", "again"),
    (lambda folder: shutil.rmtree(folder / "tokenizer"), {}, HELD, "the folder tokenizer is missing", "again"),
    (without("tokenizer/vocab.json"), {}, HELD, "its tokenizer knows no words", "again"),
    (without("unet/config.json"), {}, HELD, "unet/config.json is missing", "again"),
    (without("scheduler/scheduler_config.json"), {}, HELD, "scheduler_config.json is missing", "again"),
    (without(f"{VAE}.safetensors"), {}, HELD, "the weights of its vae are missing", "again"),
    (shards(1), {}, HELD, "1 of the 2 files with the weights of its unet are missing", "again"),
    (write(f"{UNET}.safetensors", weights(100)[:-1]), {}, HELD, "is torn", "again"),
    (write(f"{UNET}.safetensors", weights(100)[:20]), {}, HELD, "is torn", "again"),
    (write(f"{UNET}.safetensors", b"cut short"), {}, HELD, "is torn", "again"),
    (write(f"{UNET}.safetensors", b""), {}, HELD, "is torn", "again"),
    (write(f"{VAE}.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), {}, HELD, "Git LFS", "git lfs pull"),
    (index(), {"safety_checker": True}, HELD, "the folder safety_checker is missing", "again"),
    (write("tokenizer/vocab.json", b""), {}, HELD, "its tokenizer knows no words", "again"),
    (lone_shard, {}, HELD, "the index of the weights of its unet is missing", "again"),
    (both(shards(1, 2), named_by_index()), {}, HELD, "names no files", "again"),
    (both(shards(1, 2), named_by_index("/etc/passwd")), {}, HELD, "names a file '/etc/passwd'", "again"),
    (both(shards(1, 2), named_by_index("../vae/x.safetensors")), {}, HELD, "names a file '../vae", "again"),
    (both(shards(1, 2), named_by_index("a\0b.safetensors")), {}, HELD, r"a\x00b", "again"),
    (both(without(f"{UNET}.safetensors"), pipe(f"{UNET}.safetensors")), {}, HELD, "is not a file", "again"),
    (config("unet", in_channels="4"), {}, HELD, 'unet/config.json says in_channels = "4"', "again"),
    (saved(num_train_timesteps="1000"), {}, HELD, 'says num_train_timesteps = "1000", which', "again"),
    (saved(num_train_timesteps=10**12), {}, HELD, "says num_train_timesteps = 1000000000000", "again"),
    (saved(beta_start=float("nan")), {}, HELD, "says beta_start = NaN", "again"),
    (saved(prediction_type=["epsilon"]), {}, HELD, "says prediction_type = [", "again"),
    # variants
    (rename_weights("fp16.safetensors"), {"variant": "fp16"}, USABLE, "", ""),
    (rename_weights("fp16.safetensors"), {}, USABLE, "", ""),
    (rename_weights("fp16.safetensors", UNET), {}, USABLE, "", ""),
    (nothing, {"variant": "fp16"}, HELD, "there is no variant 'fp16'", "Leave `variant` out"),
    (rename_weights("fp16.safetensors"), {"variant": "bf16"}, HELD, "no variant 'bf16'", '`variant = "fp16"`'),
    (encoder(9, CLIP, range(3)), {}, HELD, "have 3 of the 9 layers that its configuration describes", COPY),
    (encoder(3, CLIP, [0, 2]), {}, HELD, "have 2 of the 3 layers", COPY),
    (encoder(3, CLIP, range(3), lacks="layers.1.mlp.fc1.weight"), {}, HELD, "lack mlp.fc1.weight in layer 1", COPY),
    (encoder(3, CLIP, range(3)), {}, USABLE, "", ""),
    (encoder(2, CLIP, range(3)), {}, USABLE, "", ""),
    (encoder("2", CLIP, range(1)), {}, USABLE, "", ""),
    (
        both(rename_weights("fp16.safetensors", UNET), write(f"{UNET}.non_ema.safetensors", weights())),
        {}, HELD, "come in variants only", '`variant = "fp16"` or `variant = "non_ema"`',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "options", "fate", "message", "hint"), FOLDERS)
def test_a_folder_is_judged_by_its_own_files(
    tmp_path: Path,
    change: Callable[[Path], object],
    options: dict[str, Any],
    fate: Fate,
    message: str,
    hint: str,
) -> None:
    folder = tmp_path / "model"
    build(folder)
    change(folder)
    found = judge_folder(ModelSource("mine", str(folder), **options), folder)
    assert (found.fate, message in found.message, hint in found.hint) == (fate, True, True), found
    assert (found.hint == "") == (fate is USABLE)
    assert "Error" not in found.message


#: What stands where something else is due in files that a program has written, or a person.
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("../x"), st.just("\ud800"),
    st.lists(st.one_of(st.none(), st.text(max_size=5), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.text(max_size=5)), max_size=2),
)  # fmt: skip
READ = {
    "model_index.json": (*INDEX, "../x", "another", "_name_or_path"),
    "unet/config.json": ("in_channels", "cross_attention_dim", "sample_size", "addition_embed_type", "encoder_hid_dim"),
    "vae/config.json": ("latent_channels",),
    "text_encoder/config.json": ("hidden_size",),
    "scheduler/scheduler_config.json": (*FACTS, *FLOW_FACTS, "_class_name", "_use_default_values", "use_flow_sigmas"),
    f"{UNET}.safetensors.index.json": ("weight_map", "metadata"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    build(folder)
    return folder


@given(st.sampled_from([(file, key) for file, keys in READ.items() for key in keys]), VALUES)
def test_whatever_stands_in_its_files_a_folder_is_judged_in_words(
    whole: Path, place: tuple[str, str], value: object
) -> None:
    file, key = whole / place[0], place[1]
    before = file.read_text() if file.exists() else None
    write_json(file, **{**json.loads(before or "{}"), key: value})
    try:
        found = look(whole, str(whole))
        digest(found.scheduler, CLASSIC, "0")
        signature_of(found)
    finally:
        file.unlink() if before is None else file.write_text(before)
    assert (found.fate is USABLE) == (found.hint == ""), found
    f"{found.message} {found.hint}".encode()  # it can be stored and sent


@pytest.mark.parametrize(
    ("change", "wish", "variant"),
    [
        (nothing, None, None),
        (rename_weights("fp16.safetensors"), None, "fp16"),
        (rename_weights("fp16.safetensors", UNET), None, "fp16"),
        (rename_weights("fp16.safetensors", UNET), "fp16", "fp16"),
    ],
)
def test_the_only_variant_is_the_one_that_is_loaded(
    tmp_path: Path, change: Callable[[Path], object], wish: str | None, variant: str | None
) -> None:
    folder = tmp_path / "model"
    build(folder)
    change(folder)
    assert judge_folder(ModelSource("mine", str(folder), variant=wish), folder).variant == variant


def test_what_is_neither_a_folder_nor_a_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(b"")
    found = look(tmp_path, str(tmp_path / "model.txt"))
    assert found.fate is NEVER
    assert "neither a folder nor" in found.message


def test_what_may_not_be_read_says_whose_right_is_missing(tmp_path: Path) -> None:
    build(tmp_path / "model")
    (tmp_path / "model" / "unet").rename(tmp_path / "unet")
    (tmp_path / "model" / "unet").symlink_to("unet")  # a loop: it can't be looked at, whoever asks
    found = look(tmp_path, str(tmp_path / "model"))
    assert found.fate is HELD
    assert found.message


def test_a_change_of_any_file_is_seen_and_nothing_else(tmp_path: Path) -> None:
    build(tmp_path / "model")
    folder = tmp_path / "model"
    before = signature(folder)
    assert signature(folder) == before
    os.utime(folder / f"{UNET}.safetensors", ns=(1, 1))
    changed = signature(folder)
    assert changed != before
    (folder / "vae" / "new").symlink_to("nowhere")
    assert signature(folder) != changed
    assert signature(tmp_path / "gone") == ()


# The hub's cache -----------------------------------------------------------------------------------------------------


def look(cache: Path, source: str, *, offline: bool = True, **options: Any) -> Judgement:
    return judge(ModelSource("mine", source, **options), cache, offline=offline)


def cached(cache: Path, *commits: str, refs: bool = True) -> Path:
    repository = cache / "models--owner--name"
    for commit in commits:
        build(repository / "snapshots" / commit)
    if refs:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commits[0])
    return repository


@pytest.mark.parametrize(
    ("refs", "revision"), [(True, None), (True, "main"), (True, COMMIT), (False, None), (False, COMMIT[:7])]
)
def test_a_model_is_found_in_the_cache_also_without_the_names_of_revisions(
    tmp_path: Path, refs: bool, revision: str | None
) -> None:
    cached(tmp_path, COMMIT, refs=refs)
    found = look(tmp_path, "owner/name", revision=revision)
    assert (found.fate, found.revision) == (USABLE, COMMIT)


def test_the_name_of_a_revision_leads_to_a_commit_and_nowhere_else(tmp_path: Path) -> None:
    repository = cached(tmp_path, COMMIT)
    for torn in (b"", b"../../..", b"\xff\xfe", COMMIT[:7].encode()):
        (repository / "refs" / "main").write_bytes(torn)
        found = look(tmp_path, "owner/name")
        assert (found.fate, found.revision) == (USABLE, COMMIT), torn


def test_of_several_commits_without_a_name_the_person_chooses(tmp_path: Path) -> None:
    cached(tmp_path, COMMIT, OTHER, refs=False)
    found = look(tmp_path, "owner/name")
    assert (found.fate, found.hint) == (HELD, f'Say which: revision = "{COMMIT}"')


def test_what_is_not_in_the_cache_is_downloaded_unless_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert look(tmp_path, "owner/name", offline=False).fate is Fate.ABSENT
    assert "offline = false" in look(tmp_path, "owner/name").hint
    for name in OFFLINE_VARIABLES:
        with monkeypatch.context() as environment:
            environment.setenv(name, "1")
            assert f"Take {name} out" in look(tmp_path, "owner/name").hint


def test_a_download_that_was_cut_short_goes_on_unless_offline(tmp_path: Path) -> None:
    repository = cached(tmp_path, COMMIT)
    (repository / "snapshots" / COMMIT / f"{UNET}.safetensors").unlink()
    assert look(tmp_path, "owner/name", offline=False).fate is Fate.ABSENT
    assert look(tmp_path, "owner/name").fate is HELD


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("models/mine/v1", "full path"),
        ("C:\\models", "full path"),
        ("no spaces/please", "full path"),
        ("https://huggingface.co/owner/name", 'source = "owner/name"'),
        ("https://huggingface.co/owner/name/tree/main", 'source = "owner/name"'),
        ("https://civitai.com/models/4384/dreamshaper", "Download it"),
        ("models--owner--name", 'source = "owner/name"'),
        ("models--owner--name/snapshots", 'source = "owner/name"'),
    ],
)
def test_a_source_that_is_neither_folder_nor_hub_id_says_so(tmp_path: Path, source: str, hint: str) -> None:
    found = look(tmp_path, source, offline=False)
    assert found.fate is NEVER
    assert "neither a hub id nor an absolute path" in found.message
    assert hint in found.hint


def test_a_folder_beside_a_model_says_which_one_may_be_meant(tmp_path: Path) -> None:
    build(tmp_path / "models" / "sd")
    (tmp_path / "files").mkdir()
    names = ("b.safetensors", "a.safetensors", "notes.txt")
    assert look(tmp_path, str(tmp_path / "files")).hint.startswith("`source` is the folder of a diffusers model")
    for name in names:
        (tmp_path / "files" / name).touch()
    for place, near in (
        ("models", f'source = "{tmp_path}/models/sd".'),
        ("models/sd/unet", f'source = "{tmp_path}/models/sd".'),
        ("files", f'source = "{tmp_path}/files/a.safetensors", or another one of the 2 in it.'),
    ):
        found = look(tmp_path, str(tmp_path / place))
        assert (found.fate, found.message) == (HELD, f"{tmp_path / place} has no model_index.json.")
        assert found.hint == f"Write {near}"


@pytest.mark.parametrize("below", ["", "snapshots"])
def test_a_folder_of_the_cache_itself_is_told_from_a_model(tmp_path: Path, below: str) -> None:
    found = look(tmp_path, str(cached(tmp_path, COMMIT) / below))
    assert found.fate is HELD
    assert 'source = "owner/name"' in found.hint


@pytest.mark.parametrize("source", ["testcard", "testcard:step_s=1", "starter"])
def test_what_comes_along_is_usable(tmp_path: Path, source: str) -> None:
    assert look(tmp_path, source).fate is USABLE
