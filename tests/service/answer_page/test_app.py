"""The answer page over HTTP: what it tells, what it writes, and whom it refuses."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.answer_page.app import create_answer_page
from service.label_folder.folder import LabelFolder
from tests.service.conftest import encoded
from tests.service.label_folder.frames import ROOMY, edited, rows, uncertain

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8001"


@pytest.fixture
def folder(tmp_path: Path) -> LabelFolder:
    """Two frames, the second one nearer to its threshold."""
    made = LabelFolder(tmp_path / "uncertain")
    made.prepare(["car", "sign"])
    made.keep([uncertain("a", 0.9), uncertain("b", 0.1)], ROOMY)
    return made


@pytest.fixture
async def page(folder: LabelFolder) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page."""
    transport = httpx.ASGITransport(create_answer_page(folder), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client


async def answer(page: httpx.AsyncClient, image: str, **changes: str) -> httpx.Response:
    given = {"image": image, "label": "car", "answer": "present", "seen": ""}
    return await page.post("/answers", json=given | changes)


async def test_frames_are_told_most_uncertain_first(page: httpx.AsyncClient, folder: LabelFolder) -> None:
    told = (await page.get("/frames")).json()
    first, second = (row["image"] for row in rows(folder.path))
    assert (told["folder"], told["labels"]) == (str(folder.path), ["car", "sign"])
    assert [frame["image"] for frame in told["frames"]] == [second, first]
    assert told["frames"][0] == {
        "image": second,
        "group": "drive 1",
        "source": "uncertain",
        "answers": {"car": "", "sign": ""},
        "probabilities": {"car": 0.4, "sign": 0.01},
        "near": ["car"],
        "distance": 0.1,
    }


async def test_an_answer_is_in_the_table_before_it_is_acknowledged(
    page: httpx.AsyncClient, folder: LabelFolder
) -> None:
    image = rows(folder.path)[0]["image"]
    reply = await answer(page, image, answer="absent")
    assert (reply.status_code, reply.json()["answers"]) == (200, {"car": "absent", "sign": ""})
    assert rows(folder.path)[0]["car"] == "0"


async def test_image_is_given_with_its_type_and_nothing_else_is(page: httpx.AsyncClient, folder: LabelFolder) -> None:
    row = rows(folder.path)[0]
    reply = await page.get("/image", params={"name": row["image"]})
    assert reply.content == (folder.path / row["image"]).read_bytes()
    assert (reply.headers["content-type"], reply.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
    for name in ("labels.csv", "../uncertain/labels.csv", "/etc/hostname", ""):
        refused = await page.get("/image", params={"name": name})
        assert (refused.status_code, refused.json()["code"]) == (404, "unlisted_frame")


async def test_a_listed_file_that_is_no_image_is_no_page(page: httpx.AsyncClient, folder: LabelFolder) -> None:
    """A browser would run it."""
    (folder.path / "page.html").write_text("<script>alert(1)</script>")
    edited(folder.path, rows(folder.path)[0]["image"], image="page.html")
    reply = await page.get("/image", params={"name": "page.html"})
    assert reply.headers["content-type"] == "application/octet-stream"


async def test_answered_elsewhere_is_a_conflict_that_says_what_stands(
    page: httpx.AsyncClient, folder: LabelFolder
) -> None:
    image = rows(folder.path)[0]["image"]
    edited(folder.path, image, car="0")
    reply = await answer(page, image)
    assert (reply.status_code, reply.json()["code"], reply.json()["stands"]) == (409, "answered_elsewhere", "absent")
    assert rows(folder.path)[0]["car"] == "0"


async def test_a_table_broken_elsewhere_is_named_and_not_touched(page: httpx.AsyncClient, folder: LabelFolder) -> None:
    image, table = rows(folder.path)[0]["image"], folder.path / "labels.csv"
    table.write_text(table.read_text() + "torn,")
    broken = table.read_text()
    for reply in (await page.get("/frames"), await answer(page, image)):
        assert (reply.status_code, reply.json()["code"]) == (409, "unreadable_label_table")
        assert "row 4 has 2 cells under a header of 7" in reply.json()["detail"]
    assert table.read_text() == broken


async def test_a_full_disk_is_told_and_the_old_answer_stands(
    page: httpx.AsyncClient, folder: LabelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("service.label_folder.tables.replace_file", full)
    reply = await answer(page, rows(folder.path)[0]["image"])
    assert reply.status_code == 500
    assert reply.json()["detail"] == f"{folder.path / 'labels.csv'}: No space left on device; nothing was written"
    assert rows(folder.path)[0]["car"] == ""


@pytest.mark.parametrize("wrong", [{"answer": "maybe"}, {"seen": "1"}, {"extra": "x"}])
async def test_an_answer_that_is_none_is_refused(
    page: httpx.AsyncClient, folder: LabelFolder, wrong: dict[str, str]
) -> None:
    reply = await answer(page, rows(folder.path)[0]["image"], **wrong)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Host": "elsewhere.example"},
        {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"},
        {"Host": "["},
    ],
)
async def test_other_sites_are_refused(page: httpx.AsyncClient, folder: LabelFolder, headers: dict[str, str]) -> None:
    """Neither a page of another site nor a name that another site made lead here may read or answer."""
    image = rows(folder.path)[0]["image"]
    given = {"image": image, "label": "car", "answer": "present", "seen": ""}
    replies = [await page.get("/frames", headers=headers), await page.post("/answers", json=given, headers=headers)]
    assert [reply.status_code for reply in replies] == [403, 403]
    assert rows(folder.path)[0]["car"] == ""


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost:8001", "[::1]:8001"])
async def test_its_own_page_is_answered_under_each_name_of_this_machine(page: httpx.AsyncClient, host: str) -> None:
    reply = await page.get("/frames", headers={"Host": host, "Origin": f"http://{host}"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("listens", "asked", "status"),
    [
        ("127.0.0.2", "127.0.0.2:8001", 200),
        ("127.0.0.2", "elsewhere.example", 403),
        ("127.0.0.2", "192.168.0.7:8001", 403),
        ("::ffff:127.0.0.1", "elsewhere.example", 403),
        ("0.0.0.0", "elsewhere.example", 403),
        ("0.0.0.0", "localhost:8001", 200),
        ("0.0.0.0", "192.168.0.7:8001", 200),
        ("::", "[2001:db8::7]:8001", 200),
        ("0.0.0.0", f"{socket.gethostname()}:8001", 200),
        ("Desk.example", "desk.example:8001", 200),
        ("Desk.example", "elsewhere.example", 403),
    ],
)
async def test_wherever_it_listens_names_that_lead_here_from_elsewhere_are_refused(
    folder: LabelFolder, listens: str, asked: str, status: int
) -> None:
    """Another site's name can be made to lead to this machine; an address is what it is."""
    transport = httpx.ASGITransport(create_answer_page(folder, listens))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        reply = await client.get("/frames", headers={"Host": asked, "Origin": f"http://{asked}"})
    assert reply.status_code == status


async def test_every_reply_forbids_what_comes_from_elsewhere(page: httpx.AsyncClient) -> None:
    for path in ("/", "/page.css", "/page.js", "/icon.svg", "/frames", "/absent"):
        policy = (await page.get(path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy


async def test_pictures_in_other_formats_have_their_own_type(folder: LabelFolder, page: httpx.AsyncClient) -> None:
    (folder.path / "own.PNG").write_bytes(encoded(1, 2, 3))
    edited(folder.path, rows(folder.path)[0]["image"], image="own.PNG")
    assert (await page.get("/image", params={"name": "own.PNG"})).headers["content-type"] == "image/png"
