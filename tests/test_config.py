import json
import os
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.config import contradictions, models
from darkroom.config.layers import TABLES
from darkroom.config.load import _TABLES, find_file, foreign_variables, load, relative_values
from darkroom.config.reading import MOST_BYTES
from darkroom.config.settings import Config
from darkroom.disk.mounts import kind_of
from darkroom.errors import ConfigUnusable, Problem
from darkroom.request.decide import Known
from darkroom.testing.world import World

CHECKOUT = Path(__file__).parents[1]
SHIPPED_FILE = CHECKOUT / "config" / "darkroom.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of one's own, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "darkroom.toml"
    path.write_text(text)
    return path


def problems(file: Path | None = None, **overrides: object) -> tuple[Problem, ...]:
    with pytest.raises(ConfigUnusable) as caught:
        load(file, overrides)
    return caught.value.problems


def without_the_comment_signs(text: str) -> str:
    return re.sub(r"^#(?=[a-z_]+ = |\[models\.)", "", text, flags=re.MULTILINE)


def test_the_shipped_file_changes_nothing() -> None:
    assert load(SHIPPED_FILE) == load()


def test_the_shipped_file_holds_every_key_at_its_default(folder: Path) -> None:
    text = without_the_comment_signs(SHIPPED_FILE.read_text())
    table = tomllib.loads(text)
    assert set(table) == set(Config.model_fields)
    assert set(table["models"]) == set(models.SHIPPED_MODELS)
    for alias, model in table["models"].items():
        assert set(model) == set(models.ModelSettings.model_fields), alias
    assert load(write(folder, text)) == load()


def test_every_key_of_the_shipped_file_is_explained() -> None:
    blocks = re.split(r"\n\s*\n", SHIPPED_FILE.read_text())
    top_level = [block for block in blocks if re.search(r"^#[a-z_]+ = ", block, flags=re.MULTILINE)]
    assert [block for block in top_level if not re.search(r"^# \S", block, flags=re.MULTILINE)] == []


def test_the_command_line_wins_over_the_environment_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(folder, "settle_s = 1\nstall_s = 1\nheartbeat_s = 1\n")
    monkeypatch.setenv("DARKROOM_SETTLE_S", "2")
    monkeypatch.setenv("DARKROOM_STALL_S", "2")
    loaded = load(file, {"settle_s": 3})
    assert (loaded.settle_s, loaded.stall_s, loaded.heartbeat_s, loaded.scan_interval_s) == (3, 2, 1, 1)


def test_paths_are_absolute_and_start_at_the_working_directory(folder: Path) -> None:
    loaded = load(None, {"inbox": "in/here", "outbox": "/srv/out"})
    assert loaded.inbox == folder / "in" / "here"
    assert loaded.outbox == Path("/srv/out")
    assert loaded.state_dir == folder / "state"


def test_the_file_is_the_one_named_or_the_one_of_the_environment_or_the_usual_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config").mkdir()
    usual = write(folder / "config", "")
    assert find_file() == usual.relative_to(folder)
    monkeypatch.setenv("DARKROOM_CONFIG", "/etc/other.toml")
    assert find_file() == Path("/etc/other.toml")
    assert find_file(Path("named.toml")) == Path("named.toml")


def test_a_file_that_is_named_has_to_be_there(folder: Path) -> None:
    assert "cannot be read" in problems(folder / "missing.toml")[0].message


def test_a_line_that_is_no_toml_is_told_with_its_number(folder: Path) -> None:
    assert "line 2" in problems(write(folder, "settle_s = 1\nstall_s =\n"))[0].message


def test_all_problems_are_told_at_once_with_place_and_nearest_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DEFAULT_MODLE", "sd15")
    monkeypatch.setenv("DARKROOM_STALL_S", "long")
    file = write(folder, 'setle_s = 1\ndefault_model = "sd51"\nwidth = 512\n[models.sd15]\nstep = 3\nwidth = 513\n')
    found = {problem.where: problem for problem in problems(file, log_level="loud")}
    assert set(found) == {
        "DARKROOM_DEFAULT_MODLE",
        "DARKROOM_STALL_S",
        "--log-level",
        "default_model",
        f"{file}: setle_s",
        f"{file}: width",
        f"{file}: models.sd15.step",
        f"{file}: models.sd15.width",
    }
    assert found["DARKROOM_DEFAULT_MODLE"].hint == "Did you mean DARKROOM_DEFAULT_MODEL?"
    assert found["default_model"].hint == "Did you mean sd15?"
    assert found[f"{file}: setle_s"].hint == "Did you mean settle_s?"
    assert "[models." in found[f"{file}: width"].hint
    assert "513" in found[f"{file}: models.sd15.width"].message


def test_problems_of_the_style_book_are_problems_of_the_configuration(folder: Path) -> None:
    book = folder / "styles.toml"
    book.write_text("[styles.fantasy]\npromt = 'x'\n")
    where = [problem.where for problem in problems(write(folder, ""))]
    assert where == [f"{book}: styles.fantasy.promt", f"{book}: styles.fantasy.prompt"]
    assert problems(None, styles="missing.toml")[0].where == "styles"
    assert problems(None, default_style="fantasie")[0].where == "default_style"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("http", "8001", 'must be a host and a port, not "8001".'),
        ("http", "127.0.0.1:99999", 'must be a host and a port, not "127.0.0.1:99999".'),
        ("textfile", "darkroom.txt", 'must be the name of a file that ends in .prom, not "darkroom.txt".'),
        ("notify", 7, "must be a text in quotes, or a list of such"),
        ("notify", [""], "must be a text that is not empty"),
    ],
)
def test_what_others_may_read_is_nothing_or_a_place_that_there_can_be(key: str, value: object, message: str) -> None:
    (problem,) = problems(None, **{key: value})
    assert message in problem.message


def test_nothing_is_shown_to_others_unless_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = load()
    assert (quiet.http, quiet.textfile, quiet.notify) == ("", "", ())
    monkeypatch.setenv("DARKROOM_HTTP", "[::1]:8001")
    monkeypatch.setenv("DARKROOM_NOTIFY", '["tell", "me"]')
    told = load(write(folder, 'http = "127.0.0.1:8001"\ntextfile = "d.prom"\n'))
    assert (told.http, told.textfile, told.notify) == ("[::1]:8001", str(folder / "d.prom"), ("tell", "me"))
    assert load(None, {"http": ""}).http == ""
    assert load(None, {"notify": "tell"}).notify == ("tell",)


def test_requests_are_decided_by_what_is_configured(folder: Path) -> None:
    rules = load(write(folder, 'max_priority = 3\n[models.sd15]\ndefault_style = "anime"\n')).rules()
    assert (rules.default_model, rules.default_style, rules.max_priority) == ("starter", ("fantasy",), 3)
    cards = {alias: rules.card(alias, Known()) for alias in rules.models}
    assert (cards["sd15"].default_style, cards["starter"].default_style) == (("anime",), None)
    assert (cards["starter"].width, cards["starter"].scheduler) == (96, "dpmsolver_multistep")
    assert (cards["sd15"].width, cards["sd15"].scheduler) == (512, "dpmsolver_multistep_karras")


def test_the_loaded_model_goes_on_for_as_many_requests_as_is_configured(folder: Path) -> None:
    for bound, expected in ((0, "abababab"), (2, "aabbaabb"), (16, "aaaabbbb")):
        world = World(folder / f"{bound}", warm_requests=bound)
        (world.inbox / ".darkroom").mkdir()
        (world.inbox / ".darkroom" / "pause").touch()
        world.start()
        for number in range(4):
            for name, model in (("a", "testcard"), ("b", "sd15")):
                world.drop(f"{name}/{number}.json", {"prompt": "a cat", "model": model})
        world.step()
        (world.inbox / ".darkroom" / "pause").unlink()
        with capture_logs() as logs:
            world.run()
        world.die()
        assert "".join(line["request"][0] for line in logs if line["event"] == "rendering") == expected


def test_how_long_the_loaded_model_goes_on_may_be_nothing_and_not_less(folder: Path) -> None:
    loaded = load(write(folder, "warm_requests = 0\nwarm_s = 0\n"))
    assert (loaded.warm_requests, loaded.warm_s) == (0, 0)
    assert [
        problem.where.rpartition(" ")[2] for problem in problems(write(folder, "warm_requests = -1\nwarm_s = -1"))
    ] == [
        "warm_requests",
        "warm_s",
    ]


def test_one_key_of_a_shipped_model_can_be_changed_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS__SD15__WIDTH", "768")
    model = load(write(folder, "[models.sd15]\nheight = 640\n")).models["sd15"]
    assert (model.width, model.height, model.variant) == (768, 640, "fp16")


def test_a_model_from_elsewhere_does_not_keep_the_pinned_revision(folder: Path) -> None:
    model = load(write(folder, '[models.sd15]\nsource = "./mine"\n')).models["sd15"]
    assert (model.source, model.revision, model.variant) == (str(folder / "mine"), "", "")


def test_a_model_of_ones_own_needs_a_source_and_nothing_else(folder: Path) -> None:
    loaded = load(write(folder, '[models.mine]\nsource = "owner/name"\n[models.other]\nsource = "/srv/other"\n'))
    assert loaded.models["mine"].width is None
    assert loaded.renderer_settings().models["other"].source == "/srv/other"
    assert problems(write(folder, "[models.mine]\nwidth = 64\n"))[0].where == "models.mine.source"


@pytest.mark.parametrize(
    ("written", "devices"),
    [
        ("auto", ("auto",)),
        ("cuda", ("cuda:0",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda:0,cuda:2", ("cuda:0", "cuda:2")),
        ("cpu, cuda:1", ("cpu", "cuda:1")),
        ('["cuda:0", "cuda:2"]', ("cuda:0", "cuda:2")),
    ],
)
def test_devices_may_be_several_wherever_they_are_written(
    written: str, devices: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(None, {"device": written}).device == devices
    assert load(write(folder, f"device = {json.dumps(written) if written[0] != '[' else written}")).device == devices
    monkeypatch.setenv("DARKROOM_DEVICE", written)
    assert load().device == devices


@pytest.mark.parametrize("text", ["models = 5", "[models]\nsd15 = 5", "inbox = 5", "models = []", 'device = "tpu"'])
def test_values_of_a_wrong_kind_are_problems_and_no_crash(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_MODELS__SD15__HEIGHT", "512")
    assert len(problems(write(folder, text))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('device = "gpu"', 'device: must be auto, cpu, cuda or cuda:N, not "gpu".'),
        ('device = ["cuda:0", "gpu"]', 'device: must be auto, cpu, cuda or cuda:N, not "gpu".'),
        (
            'device = ["auto", "cpu"]',
            (
                'device: must be auto, or the devices by name, not ["auto", "cpu"]. "auto" is every CUDA device; name '
                "none beside it."
            ),
        ),
        (
            'device = ["cuda", "cuda:0"]',
            (
                'device: must name each device once, not ["cuda", "cuda:0"]. For several renderers on one device: '
                "renderers_per_device."
            ),
        ),
        ("device = []", "device: must be a text that is not empty, or a list of such, not []."),
        ("renderers_per_device = 0", "renderers_per_device: must be 1 or more, not 0."),
        ("state_dir = 5", "state_dir: must be a path, in quotes, not 5."),
        ('settle_s = "long"', 'settle_s: must be a number, not "long".'),
        ("stall_s = 0", "stall_s: must be above 0, not 0."),
        ("max_priority = 99", "max_priority: must be 10 or less, not 99."),
        ('preload = "maybe"', 'preload: must be true or false, not "maybe".'),
        ('log_level = "loud"', "log_level: must be 'debug', 'info', 'warning' or 'error', not \"loud\"."),
        (
            '[models.sd15]\nscheduler = "eular"',
            'models.sd15.scheduler: must be a listed scheduler, not "eular". Did you mean euler?',
        ),
    ],
)
def test_what_a_value_must_be_is_told_in_words(text: str, said: str, folder: Path) -> None:
    file = write(folder, text)
    assert [str(problem) for problem in problems(file)] == [f"{file}: {said}"]


def test_tables_of_one_kind_come_together_from_all_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(TABLES) == set(_TABLES)
    said = 'controls.line = {source = "/line", family = "stable-diffusion"}\nupscalers.two.source = "/2.safetensors"'
    monkeypatch.setenv("DARKROOM_CONTROLS__EDGE__SOURCE", "/edge")
    monkeypatch.setenv("DARKROOM_CONTROLS__EDGE__FAMILY", "stable-diffusion")
    monkeypatch.setenv("DARKROOM_UPSCALERS__FOUR__SOURCE", "/four.safetensors")
    config = load(write(folder, said))
    assert (set(config.controls), set(config.upscalers)) == ({"line", "edge"}, {"two", "four"})


def test_a_table_in_the_environment_that_is_no_json_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", "{")
    assert [(each.where, each.message) for each in problems()] == [("environment", "DARKROOM_MODELS is no JSON.")]


def test_inbox_outbox_and_state_must_not_lie_in_one_another() -> None:
    assert [problem.where for problem in problems(outbox="inbox/done", state_dir="inbox")] == [
        "outbox",
        "state_dir",
        "state_dir",
    ]


def test_state_on_a_network_file_system_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = folder / "mountinfo"
    table.write_text("27 1 254:0 / / rw - ext4 /dev/vda rw\n40 27 0:50 / /mnt/nas rw - nfs4 nas:/x rw\n")
    monkeypatch.setattr(contradictions, "kind_of", partial(kind_of, mount_table=table))
    assert "nfs4" in problems(state_dir="/mnt/nas/state")[0].message
    load(None, {"state_dir": "/srv/state", "inbox": "/mnt/nas/inbox"})


def test_a_size_outside_the_model_s_limits_is_a_problem(folder: Path) -> None:
    assert problems(write(folder, "[models.starter]\nwidth = 512\n"))[0].where == "models.starter.width"


@pytest.mark.parametrize("line", ["settle_s = " + "1" * 5000, "inbox = " + "[" * 5000])
@pytest.mark.parametrize("name", ["darkroom.toml", "styles.toml"])
def test_what_python_will_not_read_is_a_problem_and_no_crash(folder: Path, name: str, line: str) -> None:
    (folder / "darkroom.toml").write_text("")
    (folder / name).write_text(f"{line}\n")
    (problem,) = problems(folder / "darkroom.toml")
    assert "TOML" in problem.message or "nested too deeply" in problem.message


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_pipe, "cannot be read: it is a pipe, not a file."),
        (Path.mkdir, "cannot be read: Is a directory."),
        (lambda file: file.write_bytes(b"\xff\xfe[\0"), "cannot be read: it is not text in UTF-8."),
        (lambda file: file.write_bytes(b"#" * (MOST_BYTES + 1)), "cannot be read: it is larger than 8 MiB."),
        (lambda file: file.symlink_to(file.name), "cannot be read: Too many levels of symbolic links."),
        (lambda file: file.symlink_to("/dev/zero"), "cannot be read: it is larger than 8 MiB."),
    ],
)
def test_what_is_not_a_text_is_told_and_never_waited_for(
    folder: Path, make: Callable[[Path], object], says: str
) -> None:
    make(folder / "darkroom.toml")
    (problem,) = problems(folder / "darkroom.toml")
    assert problem.message == says
    make(folder / "words.txt")
    (folder / "other").mkdir()
    (problem,) = problems(write(folder / "other", f'wildcards = {{words = "{folder}/words.txt"}}\n'))
    assert problem.message.endswith(says)


def test_a_file_of_another_system_is_read(folder: Path) -> None:
    (folder / "darkroom.toml").write_bytes(b"\xef\xbb\xbfsettle_s = 3\r\nscan_interval_s = 2\r\n")
    loaded = load(folder / "darkroom.toml")
    assert (loaded.settle_s, loaded.scan_interval_s) == (3, 2)


def test_a_path_says_where_and_holds_no_more_than_a_path_can(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line, hint in [
        ('inbox = ""', "Leave it out for the default."),
        ('state_dir = "a\\u0000b"', "It has a character that no path can have."),
        ('[models.mine]\nsource = "/a\\u0000b"', "It has a character that no path can have."),
    ]:
        (problem,) = problems(write(folder, f"{line}\n"))
        assert ("must be a path" in problem.message, problem.hint) == (True, hint), problem
    monkeypatch.setenv("DARKROOM_LORAS", '{"x": {"source": "/\\ud800"}}')
    (problem,) = problems(write(folder, ""))
    assert problem.hint == "It has a character that no path can have."


def test_lines_of_the_readme_can_be_added_to_the_shipped_file(folder: Path) -> None:
    shipped = SHIPPED_FILE.read_text()
    table = '[models.sd15]\nsource = "/srv/models/sd"\n[models.dreamshaper]\nsource = "owner/name"\n'
    loaded = load(write(folder, f'{shipped}\ndefault_model = "sd15"\n{table}'))
    assert (loaded.default_model, loaded.models["sd15"].source) == ("sd15", "/srv/models/sd")
    (problem,) = problems(write(folder, f'{shipped}\n{table}default_model = "sd15"\n'))
    assert problem.hint == "It belongs further up, above the first table (a name in brackets)."
    (problem,) = problems(write(folder, f"{shipped.replace('#[models.sd15]', '[models.sd15]')}\n{table}"))
    assert problem.hint == "[models.sd15] is in the file already: put these lines below that one."


FOREIGN = {
    "DARKROOM_SERVICE_HOST": "10.0.0.1",
    "DARKROOM_SERVICE_PORT": "8001",
    "DARKROOM_SERVICE_PORT_HTTP": "8001",
    "DARKROOM_PORT": "tcp://10.0.0.1:8001",
    "DARKROOM_PORT_8001_TCP_ADDR": "10.0.0.1",
    "DARKROOM_GALLERY_SERVICE_HOST": "10.0.0.2",
    "DARKROOM_NAME": "/web/darkroom",
}


def test_variables_that_a_platform_sets_by_itself_are_told_and_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes, for a Service of that name; Docker, for a link."""
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    load()
    assert foreign_variables() == sorted(FOREIGN)
    monkeypatch.setenv("DARKROOM_SETLE_S", "1")
    with pytest.raises(ConfigUnusable) as refused:
        load()
    assert [problem.where for problem in refused.value.problems] == ["DARKROOM_SETLE_S"]
    assert foreign_variables() == sorted(FOREIGN)


def test_a_home_that_nobody_has_is_a_problem(folder: Path) -> None:
    (folder / "darkroom.toml").write_text('inbox = "~nobodyxyz/in"\n[models.x]\nsource = "~nobodyxyz/model"\n')
    with pytest.raises(ConfigUnusable) as refused:
        load(folder / "darkroom.toml")
    assert [problem.hint for problem in refused.value.problems] == ["There is no user 'nobodyxyz' here."] * 2


def test_sizes_in_bytes_may_be_written_as_people_do(folder: Path) -> None:
    assert load(write(folder, 'min_free_bytes = "1 GiB"\n')).min_free_bytes == 1024**3


def test_a_style_book_may_be_several_files_the_usual_one_among_them(folder: Path) -> None:
    (folder / "mine.csv").write_text("name,prompt\nMine,x\nink,y\n")
    file = write(folder, 'styles = ["", "mine.csv"]\ndefault_style = ["Mine", "neon"]\n')
    found = load(file)
    assert found.styles == (CHECKOUT / "config" / "styles.toml", folder / "mine.csv")
    book = found.style_book()
    assert book.styles["ink"].prompt == "{prompt}, y"
    assert [note.where for note in book.notes] == [f"{folder / 'mine.csv'}: ink"]
    assert found.rules().default_style == ("Mine", "neon")
    assert relative_values(file) == {"styles": "mine.csv"}


def test_every_path_that_is_relative_is_known(folder: Path) -> None:
    """What the service has to be started in another place for."""
    written = """
        inbox = "in"
        outbox = "/srv/out"
        state_dir = "~/state"
        textfile = "darkroom.prom"
        ray_token_file = "token"
        wildcards = {words = "words.txt", others = "/srv/words.txt"}
        [models.mine]
        source = "./mine"
        vae = "vae.safetensors"
        text_encoder = ["clip.safetensors", "/srv/t5.safetensors"]
        [models.hub]
        source = "owner/name"
        [loras.ink]
        source = "loras/ink.safetensors"
        [embeddings.easy]
        source = ["a.safetensors", "b.safetensors"]
        [upscalers.esrgan]
        source = "esrgan.safetensors"
        [controls.edges]
        source = "../edges"
        family = "stable-diffusion"
    """
    assert relative_values(write(folder, written)) == {
        "inbox": "in",
        "textfile": "darkroom.prom",
        "ray_token_file": "token",
        "wildcards.words": "words.txt",
        "models.mine.source": "./mine",
        "models.mine.vae": "vae.safetensors",
        "models.mine.text_encoder": "clip.safetensors",
        "loras.ink.source": "loras/ink.safetensors",
        "embeddings.easy.source": "a.safetensors, b.safetensors",
        "upscalers.esrgan.source": "esrgan.safetensors",
        "controls.edges.source": "../edges",
    }


@pytest.mark.parametrize("text", ["inbox = 5", "models = 3", "[models]\nx = 1", "wildcards = []", "styles = [1]"])
def test_what_is_no_path_is_not_relative(folder: Path, text: str) -> None:
    assert relative_values(write(folder, text)) == {}


def test_lists_in_the_environment_are_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.csv").write_text("name,prompt\nMine,x\n")
    monkeypatch.setenv("DARKROOM_STYLES", '["", "mine.csv"]')
    monkeypatch.setenv("DARKROOM_DEFAULT_STYLE", '["ink", "Mine"]')
    monkeypatch.setenv("DARKROOM_MODELS__SD15__DEFAULT_STYLE", '["neon", "ink"]')
    rules = load().rules()
    assert rules.default_style == ("ink", "Mine")
    assert rules.models["sd15"].default_style == ("neon", "ink")
    monkeypatch.setenv("DARKROOM_STYLES", "mine.csv")
    monkeypatch.setenv("DARKROOM_DEFAULT_STYLE", "Mine")
    monkeypatch.setenv("DARKROOM_MODELS__SD15__DEFAULT_STYLE", "none")
    rules = load().rules()
    assert (rules.book.names, rules.default_style) == (("Mine", "none"), ("Mine",))
    assert rules.models["sd15"].default_style == ("none",)


def test_problems_of_every_file_of_a_book_are_told_at_once(folder: Path) -> None:
    (folder / "a.csv").write_text("x\n")
    (folder / "b.json").write_text("{}")
    file = write(folder, 'styles = ["a.csv", "b.json", "missing.toml"]\n')
    assert [problem.where for problem in problems(file)] == [str(folder / "a.csv"), str(folder / "b.json"), "styles"]


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("styles = []", "styles"),
        ("styles = 7", "styles"),
        ('styles = ["config", 7]', "styles"),
        ('default_style = ""', "default_style"),
        ("default_style = []", "default_style"),
        ('default_style = ["ink", 7]', "default_style"),
    ],
)
def test_what_is_no_list_of_styles_is_a_problem(folder: Path, line: str, where: str) -> None:
    file = write(folder, f"{line}\n")
    (problem,) = problems(file)
    assert problem.where == f"{file}: {where}"
    assert "text" in problem.message or "path" in problem.message


def test_the_style_book_lies_beside_the_file_or_comes_with_darkroom(folder: Path) -> None:
    file = write(folder, "")
    assert load(file).styles == (CHECKOUT / "config" / "styles.toml",)
    (folder / "styles.toml").write_bytes((CHECKOUT / "config" / "styles.toml").read_bytes())
    assert load(file).styles == (folder / "styles.toml",)
