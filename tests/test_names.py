import os
import unicodedata
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darkroom import names
from darkroom.names import (
    MAX_STEM_BYTES,
    Wish,
    dropped_as,
    file_of,
    first_folder,
    folded,
    folder_of,
    is_request,
    is_result_name,
    is_watched,
    joined,
    natural_key,
    parse_taken,
    result_names,
    retried,
    safe_name,
    safe_part,
    stem_of,
    taken_name,
    ulid,
    why_ignored,
    why_no_wish,
    wish_of,
)

ID = "01JD0000000000000000000000"

#: One part of a path as the kernel may give it: 1 to 255 bytes of anything but NUL and "/".
raw_parts = (
    st.one_of(
        st.binary(min_size=1, max_size=255),
        st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text(alphabet='con.json ~-/\\:*?"<>|\n\u0301é', min_size=1, max_size=40).map(str.encode),
    )
    .map(lambda raw: raw.replace(b"\0", b"").replace(b"/", b"")[:255])
    .filter(lambda raw: raw not in (b"", b".", b".."))
    .map(os.fsdecode)
)


@pytest.mark.parametrize(
    "name",
    [
        ".cat.json",
        "~cat.json",
        "cat.json~",
        "cat.tmp",
        "cat.json.part",
        "cat.json.PARTIAL",
        "cat.json.filepart",
        "cat.json.crdownload",
        ".cat.json.swp",
        "cat.swp",
        "cat.sync-conflict-20250101-120000-ABCDEFG.json",
        "Thumbs.db",
        "desktop.ini",
        "DESKTOP.INI",
        "@eaDir",
        ".darkroom",
    ],
)
def test_what_others_keep_for_themselves_is_never_touched_and_the_reason_is_known(name: str) -> None:
    assert why_ignored(name)
    assert not is_request(name)
    assert wish_of(name) is None


@pytest.mark.parametrize(
    "name", ["cat.json", "cat.JSON", "-cat.json", "cat.tmp.json", "cat sync-conflict.json", "ü.json"]
)
def test_whatever_ends_in_json_is_a_request_in_any_case(name: str) -> None:
    assert is_request(name)
    assert wish_of(name) is None


def test_a_cancel_file_may_name_the_request_with_or_without_its_ending() -> None:
    assert wish_of("cat.CANCEL") == Wish(("cat",))
    assert wish_of("alice/cat.cancel") == Wish(("alice/cat",))
    assert wish_of("alice/cat.json.cancel") == Wish(("alice/cat.json", "alice/cat"))


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("cat.5.priority", Wish(("cat",), 5)),
        ("alice/cat.-10.PRIORITY", Wish(("alice/cat",), -10)),
        ("cat.+03.priority", Wish(("cat",), 3)),
        ("cat.1.5.priority", Wish(("cat.1",), 5)),
        ("cat.json.0.priority", Wish(("cat.json", "cat"), 0)),
    ],
)
def test_a_priority_stands_in_the_name_of_its_file(path: str, wish: Wish) -> None:
    assert wish_of(path) == wish
    assert why_no_wish(file_of(path)) is None


@pytest.mark.parametrize(
    "name", ["cat.priority", "cat.11.priority", "cat.-11.priority", "cat.x.priority", ".5.priority", "cat.٣.priority"]
)
def test_what_names_no_priority_is_no_wish(name: str) -> None:
    assert wish_of(name) is None
    assert why_no_wish(name)


def test_a_path_is_taken_apart_at_its_last_slash_and_its_ending() -> None:
    assert (stem_of("a/b/cat.JSON"), folder_of("a/b/cat.json"), folder_of("cat.json")) == ("a/b/cat", "a/b", "")
    assert (first_folder("a/b/cat.json"), first_folder("cat.json")) == ("a", "")
    assert (file_of("a/b/cat.json"), file_of("cat.json")) == ("cat.json", "cat.json")
    assert (joined("a/b", "cat.json"), joined("", "cat.json")) == ("a/b/cat.json", "cat.json")


@pytest.mark.parametrize(
    ("folder", "watched"),
    [
        ("", True),
        ("a", True),
        ("a/b/c", True),
        ("a/b/c/d", False),
        (".git", False),
        ("a/.x", False),
        ("a/@eaDir", False),
        ("a/old~", False),
        ("cat.json", False),
    ],
)
def test_sub_folders_are_watched_three_deep_unless_they_are_hidden(folder: str, watched: bool) -> None:
    assert is_watched(folder) is watched


# Safe names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["cat", "cat-1", "a castle on a hill", "Größe", "猫", "con-1", "v1.2"])
def test_a_name_that_everybody_can_read_stays_as_it_is(part: str) -> None:
    assert safe_part(part) == part


@pytest.mark.parametrize(
    ("part", "start"),
    [
        ("a:b", "a_b~"),
        ("..", "_~"),
        ("a\nb", "a_b~"),
        ("con", "_con~"),
        ("COM1.x", "_COM1.x~"),
        ("cat.", "cat_~"),
        ("cat ", "cat_~"),
        ("x.json", "x_json~"),
        ("~x", "_~x~"),
        (".x", "_.x~"),
        ("u\u0308", "ü~"),
        ("a\udcffb", "a_b~"),
        ("x" * 300, "x" * 91 + "~"),
        ("é" * 60, "é" * 45 + "~"),
    ],
)
def test_a_name_that_somebody_could_not_read_back_is_changed_and_marked(part: str, start: str) -> None:
    safe = safe_part(part)
    assert safe.startswith(start)
    assert len(safe) == len(start) + 8


@given(raw_parts)
@example("con")
@example("\u0344")
@example("a" * 100 + "\u0301")
def test_a_safe_part_can_be_read_back_by_every_client(part: str) -> None:
    safe = safe_part(part)
    assert 0 < len(safe.encode()) <= MAX_STEM_BYTES
    assert not set(safe) & set('<>:"/\\|?*')
    assert all(char.isprintable() or ord(char) > 0x9F for char in safe)
    assert safe == unicodedata.normalize("NFC", safe)
    assert safe[0] not in ".~"
    assert safe[-1] not in ". "
    assert not safe.lower().endswith(".json")
    assert safe_part(safe) == safe


@given(raw_parts, raw_parts)
@example("a:b", "a?b")
@example("é", "e\u0301")
@example("x" * 101, "x" * 102)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert one == other or safe_part(one) != safe_part(other)


@given(st.lists(raw_parts, min_size=1, max_size=4))
@example(["..", "..", "etc"])
def test_a_name_never_leads_out_of_its_folder(parts: list[str]) -> None:
    name = safe_name("/".join(parts))
    assert os.path.normpath(os.path.join("/outbox", name)) == f"/outbox/{name}"
    assert name.count("/") == len(parts) - 1


def test_names_that_differ_by_case_only_fold_to_one() -> None:
    assert folded("CAT") == folded("cat") == folded("Cat")
    assert folded("STRASSE") == folded("straße")
    assert folded("É") == folded("e\u0301")


def test_undecodable_bytes_are_percent_encoded_for_the_answer() -> None:
    assert dropped_as("alice/100 % cat.json") == "alice/100 % cat.json"
    assert dropped_as(os.fsdecode(b"caf\xe9 100%.json")) == "caf%E9 100%25.json"


@given(raw_parts)
def test_what_stands_in_an_answer_is_always_text(part: str) -> None:
    dropped_as(part).encode()


# Hidden names --------------------------------------------------------------------------------------------------------


@given(raw_parts.map(lambda part: os.fsdecode(os.fsencode(part)[:104]) + ".json"))
def test_a_hidden_name_gives_its_file_name_back(name: str) -> None:
    assert parse_taken(taken_name(name, ID)) == (name, ID)


@given(raw_parts.map(lambda part: os.fsdecode((os.fsencode(part) * 255)[:250]) + ".json"))
@example("é" * 125 + ".json")
@example("x" * 104 + ".json" + "x" * 29 + ".json")
def test_the_hidden_name_of_a_name_of_255_bytes_fits_and_is_found_again(name: str) -> None:
    hidden = taken_name(name, ID)
    assert len(os.fsencode(hidden)) <= names.MAX_NAME_BYTES
    found = parse_taken(hidden)
    assert found is not None
    assert found[1] == ID
    assert is_request(found[0]) or why_ignored(found[0])
    assert len(os.fsencode(found[0])) <= 255
    assert taken_name(found[0], ID) == hidden, "what is found must lead to the same file"


@pytest.mark.parametrize(
    "name", ["cat.json", ".cat.json.taken", f"cat.json.{ID}.taken", f".cat.json.{ID.lower()}.taken"]
)
def test_the_hidden_names_of_others_are_not_ours(name: str) -> None:
    assert parse_taken(name) is None


# Retries, results, order ---------------------------------------------------------------------------------------------


def test_a_retry_is_told_by_its_name() -> None:
    assert retried("alice/cat.retry-12") == "alice/cat"
    assert retried("cat.retry-1.retry-2") == "cat.retry-1"
    assert retried("cat") is None
    assert retried(".retry-1") is None


@pytest.mark.parametrize("ending", ["", ".refused"])
@given(stem=raw_parts.map(safe_part))
def test_result_names_count_up_and_are_known_again(ending: str, stem: str) -> None:
    found = list(islice(result_names(stem, ending), 12))
    assert found[:3] == [f"{stem}{ending}", f"{stem}{ending}-2", f"{stem}{ending}-3"]
    assert all(is_result_name(each, stem, ending) for each in found)


@pytest.mark.parametrize("folder", ["cats", "cat-", "cat-02", "cat-2x", "ca", "cat.refused", "cat-2-2"])
def test_a_folder_of_another_request_is_no_result_of_this_one(folder: str) -> None:
    assert not is_result_name(folder, "cat")


def test_pages_are_read_in_the_order_of_their_numbers() -> None:
    pages = ["page-10", "page-2", "page-1", "other", "page"]
    assert sorted(pages, key=natural_key) == ["other", "page", "page-1", "page-2", "page-10"]


@given(st.lists(raw_parts))
@example(["1²2", "1a2", "٣", "1٣2"])
@example(["9" * 250])
def test_any_names_can_be_put_in_order(parts: list[str]) -> None:
    assert sorted(sorted(parts), key=natural_key) == sorted(
        sorted(parts, reverse=True), key=lambda p: (natural_key(p), p)
    )


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_ids_sort_by_time_and_fit_a_hidden_name(ms: int, bits: int, other_ms: int, other_bits: int) -> None:
    one, other = ulid(ms, bits), ulid(other_ms, other_bits)
    assert (one < other) == ((ms, bits) < (other_ms, other_bits))
    assert parse_taken(taken_name("cat.json", one)) == ("cat.json", one)


def test_an_id_is_written_in_crockfords_letters() -> None:
    assert ulid(1_469_918_176_385, 0) == "01ARYZ6S41" + "0" * 16
    assert ulid(2**48 - 1, 2**80 - 1) == "7" + "Z" * 25
    assert names.folder_of(ulid(0, 0)) == ""


# The files of a request ----------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=80))
def test_a_hidden_file_of_a_request_says_what_it_was_called_and_whose_it_is(name: str) -> None:
    hidden = names.leaving_name(name, ID)
    assert len(hidden.encode()) <= names.MAX_NAME_BYTES
    assert names.left_by(hidden, ID) == name or len(name.encode()) > 100
    assert names.left_by(hidden, "0" * 26) is None
    assert names.parse_taken(hidden) is None


@pytest.mark.parametrize(
    ("name", "is_one"), [("cat.files", True), ("CAT.Files", True), (".files", False), ("cat", False)]
)
def test_a_folder_of_files_is_no_folder_of_requests(name: str, is_one: bool) -> None:
    assert names.is_files_folder(name) is is_one
    assert not (is_one and names.is_watched(name))
    assert not names.is_watched("alice/cat.files")


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [
        ("photo.png", True),
        ("été 1.JPG", True),
        ("a:b.png", False),
        ("con.png", False),
        ("photo.", False),
        ("a?", False),
    ],
)
def test_a_file_has_a_name_that_every_client_can_read_back(name: str, is_plain: bool) -> None:
    assert names.is_plain_file(name) is is_plain
