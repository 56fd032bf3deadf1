"""What Containerfile, compose.yaml and docs/container.md say of each other and of the configuration is true."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from darkroom.config.load import USUAL_FILES
from darkroom.config.settings import Config
from darkroom.http.address import Address

CHECKOUT = Path(__file__).parents[1]
RECIPE = (CHECKOUT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text(encoding="utf-8"))
SERVICE: dict[str, Any] = COMPOSE["services"]["darkroom"]
PAGE = (CHECKOUT / "docs/container.md").read_text(encoding="utf-8")
FOLDERS = {"inbox": "/inbox", "outbox": "/outbox", "state_dir": "/state", "model_cache": "/models"}


def said(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} +(.+)$", RECIPE, re.MULTILINE)


def variables() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(said("ENV"))))


def default(text: str) -> str:
    """What compose takes for "${NAME:-value}" where nobody says another one."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_the_image_names_the_folders_by_keys_of_the_configuration() -> None:
    ours = {key.removeprefix("DARKROOM_").lower(): value for key, value in variables().items() if "DARKROOM" in key}
    assert ours.keys() <= Config.model_fields.keys()
    assert {key: ours[key] for key in FOLDERS} == FOLDERS
    (volumes,) = said("VOLUME")
    assert yaml.safe_load(volumes) == list(FOLDERS.values())


def test_compose_mounts_each_folder_and_keeps_all_else_read_only() -> None:
    mounts = [default(each).rpartition(":") for each in SERVICE["volumes"]]
    assert [target for _, _, target in mounts] == list(FOLDERS.values())
    assert {source for source, _, _ in mounts} == COMPOSE["volumes"].keys()
    assert (SERVICE["read_only"], SERVICE["tmpfs"], SERVICE["cap_drop"]) == (True, ["/tmp"], ["ALL"])


def test_it_runs_as_a_number_that_is_nobody_else() -> None:
    assert said("USER") == ["10001:10001"]
    assert default(SERVICE["user"]) == "10001:10001"
    assert "10001" in PAGE


def test_the_port_is_the_same_everywhere_and_reaches_this_machine_alone() -> None:
    address = Address.parse(variables()["DARKROOM_HTTP"])
    assert not address.is_of_this_machine, "of the container, it would reach nobody"
    assert said("EXPOSE") == [str(address.port)]
    assert SERVICE["ports"] == [f"127.0.0.1:{address.port}:{address.port}"]
    (question,) = said("HEALTHCHECK")
    assert f"http://127.0.0.1:{address.port}/health" in question


def test_a_stop_takes_longer_than_the_picture_in_hand_may() -> None:
    assert said("STOPSIGNAL") == ["SIGTERM"]
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > Config.model_fields["stop_within_s"].default


def test_what_it_is_built_with_is_told() -> None:
    arguments = {each.partition("=")[0] for each in said("ARG")}
    assert arguments == set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert SERVICE["build"]["args"].keys() <= arguments
    assert [default(each) for each in SERVICE["build"]["args"].values()] == ["cuda", ""]
    assert SERVICE["build"]["dockerfile"] == "Containerfile"


def test_all_that_is_copied_is_there_and_goes_into_the_build() -> None:
    allowed = [line[1:] for line in (CHECKOUT / ".containerignore").read_text().splitlines() if line.startswith("!")]
    copied = [word for line in said("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert sorted(copied) == sorted(allowed)
    assert [name for name in copied if not (CHECKOUT / name).exists()] == []
    assert not any(fnmatch(name, each) for each in copied for name in (".git", ".venv", "state", "models"))


def test_the_page_names_the_file_of_the_configuration_that_is_read_there() -> None:
    assert str(USUAL_FILES[-1]) == "/etc/darkroom/darkroom.toml"
    assert "/etc/darkroom/darkroom.toml" in PAGE


def test_no_address_of_a_package_index_is_written_down() -> None:
    assert re.findall(r"https?://(?!127\.0\.0\.1)\S+", RECIPE) == []
