"""Hostile input to the running services: each has a clear answer, its neighbours go on, nobody dies or grows."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from radbus_testing.programs import service_running
from radbus_testing.waiting import eventually

from tests.contract.addresses import url
from tests.contract.wire import FORM, RELATED, Part, ask, form_part, multipart

pytestmark = pytest.mark.stack

HEAD_S = 5  # as the stack of the tests is told
IDLE_S, BODY_S, LEAST_BYTES = 2, 6, 2048  # as an ingest of these tests' own is told
GROWTH_LIMIT_MIB = 150  # of a replica that normally has as much
ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"
ITEM_UNDEFINED = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
END_OF_ITEM, END_OF_SEQUENCE = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
NESTED = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
PRIVATE = struct.pack("<HH2sHL", 0x0029, 0x1010, b"SQ", 0, 0xFFFFFFFF)


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH2sHL", group, number, vr, 0, len(value) if length is None else length) + value


def before_pixels(content: bytes, inserted: bytes) -> bytes:
    at = content.index(b"\xe0\x7f\x10\x00")
    return content[:at] + inserted + content[at:]


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def in_explicit(tag: bytes, vr: bytes, length: int) -> bytes:
    return tag + vr + struct.pack("<H", length)


def rows_of(content: bytes, rows: int, columns: int) -> bytes:
    for tag, value in ((b"\x28\x00\x10\x00", rows), (b"\x28\x00\x11\x00", columns)):
        at = content.index(in_explicit(tag, b"US", 2)) + 8
        content = content[:at] + struct.pack("<H", value) + content[at + 2 :]
    return content


def bad_uid(content: bytes, uid: bytes) -> bytes:
    """Give an instance another SOPInstanceUID, in the data set and in the file meta information."""
    for tag in (b"\x08\x00\x18\x00", b"\x02\x00\x03\x00"):
        at = content.index(tag + b"UI")
        (length,) = struct.unpack("<H", content[at + 6 : at + 8])
        padded = uid + b"\0" * (len(uid) % 2)
        content = content[: at + 6] + struct.pack("<H", len(padded)) + padded + content[at + 8 + length :]
    return content


def deflate_bomb(content: bytes) -> bytes:
    """Deflate an instance's data set, with 200 MB of zeros before its pixels."""
    (length,) = struct.unpack("<L", content[140:144])
    plain, pixels_at = 144 + length, content.index(b"\xe0\x7f\x10\x00")
    syntax = b"\x02\x00\x10\x00"
    meta = replaced(
        content[144:plain],
        in_explicit(syntax, b"UI", 20) + b"1.2.840.10008.1.2.1\0",
        in_explicit(syntax, b"UI", 22) + b"1.2.840.10008.1.2.1.99",
    )
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [content[plain:pixels_at] + struct.pack("<HH2sHL", 0x0029, 0x1010, b"OB", 0, 200_000_000)]
    pieces += [bytes(1_000_000)] * 200 + [content[pixels_at:]]
    head = content[:140] + struct.pack("<L", length + 2)
    return head + meta + b"".join([*map(packer.compress, pieces), packer.flush()])


INSTANCES = {
    "a deflated header of 200 MB": (deflate_bomb, "when inflated"),
    "an element of 4 GiB": (
        lambda one: before_pixels(one, element(0x29, 0x1010, b"OB", b"x", 0xFFFFFFFE)),
        "whole file",
    ),
    "file meta of 4 GiB": (lambda one: one[:140] + b"\xfe\xff\xff\xff" + one[144:], None),
    "2,000 nested sequences": (
        lambda one: before_pixels(one, (NESTED + ITEM_UNDEFINED) * 2000 + (END_OF_ITEM + END_OF_SEQUENCE) * 2000),
        "sequences",
    ),
    "a sequence without end": (lambda one: before_pixels(one, NESTED + ITEM_UNDEFINED), "PS3.5"),
    "100,000 private items": (lambda one: before_pixels(one, PRIVATE + ITEM * 100_000 + END_OF_SEQUENCE), None),
    "250,000 elements": (
        lambda one: before_pixels(one, struct.pack("<HH2sH", 0x0029, 0x1001, b"LO", 0) * 600_000),
        "fewer than 250000 elements",
    ),
    "a private element of 17 MB": (
        lambda one: before_pixels(one, element(0x29, 0x1010, b"OB", bytes(17_000_000))),
        None,
    ),
    "a text of 17 MB": (lambda one: before_pixels(one, element(0x7F01, 0x0010, b"UT", b"x" * 17_000_000)), None),
    "cut pixels": (lambda one: one[:-100], "whole file"),
    "pixels that are said to be gigabytes": (lambda one: rows_of(one, 65535, 65535), "bytes of pixel data"),
    "a UID with a path": (lambda one: bad_uid(one, b"1.2/../../../etc/passwd"), "digits and dots"),
    "a UID of 65 characters": (lambda one: bad_uid(one, b"1." * 32 + b"1"), "digits and dots"),
    "a UID that is empty": (lambda one: bad_uid(one, b""), "expected one SOPInstanceUID"),
    "a UID beyond ASCII": (lambda one: bad_uid(one, "1.2.é".encode()), "digits and dots"),
    "a UID with leading zeros": (lambda one: bad_uid(one, b"1.02.%d" % time.time_ns()), None),
    "another UID in the file meta": (
        lambda one: (
            one.replace(b"\x02\x00\x03\x00UI", b"\x02\x00\x03\x00UI", 1)[:144]
            + replaced(one[144:400], b"2.25.", b"2.26.")
            + one[400:]
            if b"2.25." in one[144:400]
            else replaced(one[:400], b"1.2.826", b"1.2.827") + one[400:]
        ),
        "they differ",
    ),
    "a character set that makes half a surrogate pair": (
        lambda one: before_pixels(
            one,
            struct.pack("<HH2sH", 8, 5, b"CS", 14) + b"unicode_escape" + element(0x40, 0xA160, b"UT", b"\xe9\\ud800x"),
        ),
        None,
    ),
}


@pytest.fixture(scope="module")
def ingest_pid(radbus) -> int:
    return pid_of(radbus, radbus.replicas_of("ingest")[0])


@pytest.fixture(scope="module")
def impatient(radbus, tmp_path_factory) -> Iterator[str]:
    """One more ingest, which waits for no body as long as the others do."""
    own = {**radbus.environment(), "RADBUS_BODY_IDLE_S": str(IDLE_S), "RADBUS_BODY_S": str(BODY_S)}
    log, port = tmp_path_factory.mktemp("ingest") / "ingest.log", radbus.layout.port("worker-9")
    with service_running("ingest", own, port=port, log=log) as address:
        yield address


def pid_of(radbus, name: str) -> int:
    return next(program.pid for program in radbus.status() if program.name == name)


@contextmanager
def bounded_memory(*pids: int) -> Iterator[None]:
    """Fail when a program's peak of resident memory grows by more than is normal, or when it has died."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    before = {pid: _peak_mib(pid) for pid in pids}
    yield
    assert all(_peak_mib(pid) - before[pid] < GROWTH_LIMIT_MIB for pid in pids)


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def exchange(address: str, *pieces: bytes, timeout_s: float = 30) -> bytes:
    """Send bytes as they are and return all that comes until the other side closes, or has answered whole."""
    where = urlsplit(address)
    with socket.create_connection((str(where.hostname), int(where.port or 80)), timeout=timeout_s) as connection:
        came = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while not _is_whole(came) and (more := connection.recv(65536)):
                came += more
        except (BrokenPipeError, ConnectionResetError):
            pass
    return came


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    declared = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and bool(declared) and len(body) >= int(declared[0])


def both_addresses(stack) -> dict[str, str]:
    """The one address of all, with nginx before the services, and that of ingest itself."""
    return {"front": url(stack, "/"), "ingest": stack.url("ingest")}


@pytest.mark.parametrize("name", INSTANCES)
def test_a_hostile_instance_has_an_answer_of_its_own_and_its_neighbour_is_stored(north, new_series, ingest_pid, name):
    damage, words = INSTANCES[name]
    good, bad = new_series().instances[0], damage(new_series().instances[0])
    parts = [form_part("bad", bad), form_part("good", good)]

    with bounded_memory(ingest_pid):
        answer = ask(north.stack, "POST", "/upload", headers={**north.headers, **FORM}, body=multipart(parts))
        again = ask(north.stack, "POST", "/studies", headers={**north.headers, **RELATED}, body=multipart([Part(bad)]))

    messages = answer.json()["messages"]
    assert answer.status == 200
    assert messages["good"]["created"] is True
    assert messages["bad"]["created"] is (words is None)
    assert (words or "") in messages["bad"]["message"]
    assert again.status == (409 if words else 200) or (again.status == 202 and not words)


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return packed.getvalue()


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    return entry


def changed(content: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, changed.rindex(signature) + offset, value)
    return bytes(changed)


def overlapping() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1", bytes(100_000))
        archive.filelist += archive.infolist() * 500
    return packed.getvalue()


ZIPS = {
    "that grows": (lambda _: zipped(("1", bytes(300_000_000))), "grows at most 200 times"),
    "of 20,001 entries": (lambda _: zipped(*((str(n), b"") for n in range(20_001))), "at most 20000 entries"),
    "of entries in one another": (lambda _: overlapping(), "one behind the other"),
    "in a zip": (lambda one: zipped(("2.zip", zipped(("1", one)))), "not another zip"),
    "with a link": (lambda _: zipped((link(), b"/etc/passwd")), "expected a DICOM file"),
    "that is encrypted": (lambda one: changed(zipped(("1", one)), b"PK\1\2", 8, "<H", 1), "not encrypted"),
    "packed in an unusual way": (
        lambda one: changed(zipped(("1", one)), b"PK\1\2", 10, "<H", 99),
        "stored or deflated",
    ),
    "with a false size": (lambda one: changed(zipped(("1", one)), b"PK\1\2", 24, "<L", 10), "damaged"),
    "with a false size of 4 GiB": (lambda one: changed(zipped(("1", one)), b"PK\1\2", 24, "<L", 0xFFFFFFFE), "grows"),
    "with sizes of ZIP64 that are not there": (
        lambda one: changed(zipped(("1", one)), b"PK\1\2", 24, "<L", 0xFFFFFFFF),
        "expected a zip",
    ),
    "whose directory is elsewhere": (
        lambda one: changed(zipped(("1", one)), b"PK\5\6", 16, "<L", 0xFFFFFFF0),
        "expected",
    ),
    "whose directory is gigabytes": (
        lambda one: changed(zipped(("1", one)), b"PK\5\6", 12, "<L", 0xFFFFFFF0),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_hostile_zip_is_refused_in_words_and_its_neighbour_is_stored(north, new_series, ingest_pid, name):
    make, words = ZIPS[name]
    parts = [form_part("bad", make(new_series().instances[0])), form_part("good", new_series().instances[0])]

    with bounded_memory(ingest_pid):
        answer = ask(north.stack, "POST", "/upload", headers={**north.headers, **FORM}, body=multipart(parts))

    messages = answer.json()["messages"]
    assert answer.status == 200
    assert messages.pop("good")["created"] is True
    assert messages
    assert all(words in each["message"] and not each["created"] for each in messages.values())


def test_names_of_a_zips_entries_lead_nowhere(north, new_series):
    names = [
        "../../../../../../tmp/radbus-evil",
        "/etc/radbus-evil",
        "C:\\Windows\\radbus-evil",
        "a/./b//c",
        "x" * 5000,
    ]
    entries = [(name, new_series().instances[0]) for name in names]
    headers = {**north.headers, "Content-Type": "application/zip"}

    answer = ask(north.stack, "POST", "/upload", headers=headers, body=zipped(*entries))

    assert answer.status == 200
    assert all(each["created"] for each in answer.json()["messages"].values())
    assert not Path("/tmp/radbus-evil").exists()
    assert not Path("/etc/radbus-evil").exists()


def test_the_archive_of_a_run_that_is_hostile_fails_with_a_reason_and_the_worker_goes_on(radbus, north, new_series):
    series = new_series(3)
    frame = b"\xff\x4f\xff\x51" + struct.pack(
        ">HH8LHBBB", 41, 0, 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0, 1, 11, 1, 1
    )
    archives = [make(series.instances[0]) for make, _ in ZIPS.values()]
    archives += [zipped(("ct/1", damage(series.instances[0]))) for damage, _ in INSTANCES.values()]
    archives += [b"", b"PK\x05\x06", zipped(("ct/1", _encapsulated(series.instances[0], frame)))]

    with bounded_memory(*programs_of_workers(radbus)):
        runs = [_started(north, archive) for archive in archives]
        good = _started(north, zipped(*((f"ct/{number}", each) for number, each in enumerate(series.instances))))
        ended, well = [_ended(north, run) for run in runs], _ended(north, good)

    assert well.status == 200
    for answer in ended:
        assert answer.status in (200, 400)
        if answer.status == 400:
            assert answer.json()["extra_details"] == "InvalidZipFile"


def programs_of_workers(radbus) -> list[int]:
    """The workers, and the processes of each that open archives and decode."""
    workers = [psutil.Process(pid_of(radbus, name)) for name in ("worker-0", "worker-1")]
    return [each.pid for worker in workers for each in (worker, *worker.children(recursive=True))]


def _encapsulated(instance: bytes, frame: bytes) -> bytes:
    at = instance.index(b"\xe0\x7f\x10\x00")
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(frame)) + frame
    head = replaced(instance[:at], b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.90")
    syntax_at = head.index(b"1.2.840.10008.1.2.4.90")
    return head[: syntax_at - 2] + struct.pack("<H", 22) + head[syntax_at:] + pixels + ITEM + item + END_OF_SEQUENCE


def _started(hospital, archive: bytes) -> str:
    path = "/v1/model/start/PassThroughModel:1729"
    answer = ask(hospital.stack, "POST", path, headers={"API_AUTH_SECRET": hospital.token}, body=archive)
    assert answer.status == 201
    return answer.body.decode()


def _ended(hospital, run: str):
    def ended():
        answer = ask(hospital.stack, "GET", f"/v1/model/results/{run}", headers={"API_AUTH_SECRET": hospital.token})
        return answer if answer.status != 202 else None

    return eventually(ended, timeout_s=120, what="the end of a run")


def request(path: str, *lines: str, method: str = "POST", body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: radbus", *lines, "", ""]).encode("latin-1") + body


MALFORMED = {
    "a negative length": request("/upload", "Content-Length: -1", body=b"abc"),
    "a length and chunks": request("/upload", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "two lengths": request("/upload", "Content-Length: 3", "Content-Length: 4", body=b"abcd"),
    "a length of 31 digits": request("/upload", f"Content-Length: 1{'0' * 30}", body=b"abcd"),
    "a length that is no number": request("/upload", "Content-Length: three", body=b"abcd"),
    "a chunk that is no chunk": request("/upload", "Transfer-Encoding: chunked", body=b"ZZ\r\nabc"),
    "a chunk beyond all numbers": request("/upload", "Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\nabc"),
    "a zero byte in a header": request("/upload", "X-Odd: \0"),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "an address of 100 KB": request("/results/" + "1" * 100_000, method="GET"),
    "a header of 300 KB": request("/upload", "X-Odd: " + "a" * 300_000),
    "a header's name of 300 KB": request("/upload", "a" * 300_000 + ": 1"),
    "20,000 headers": request("/upload", *(f"X-{number}: 1234567890" for number in range(20_000))),
    "9,000 parameters": request("/results/1.2?" + "a=1&" * 20_000, method="GET"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_http_is_refused_with_or_without_nginx_in_front(radbus, name):
    for address in both_addresses(radbus).values():
        answer = exchange(address, MALFORMED[name])

        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500, answer
        assert b"content-type: application/json" in answer.lower()
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"].startswith("Expected")


def test_a_head_that_comes_slowly_or_never_ends_is_given_up(radbus, ingest_pid):
    with bounded_memory(ingest_pid):
        endless = exchange(radbus.url("ingest"), b"GET / HTTP/1.1\r\n", *[b"X: " + b"a" * 10_000 + b"\r\n"] * 1000)
        started = time.monotonic()
        slow = exchange(radbus.url("ingest"), b"GET /healthz HTTP/1.1\r\nHost: x\r\n", timeout_s=3 * HEAD_S)
        waited_s = time.monotonic() - started

    assert endless.startswith(b"HTTP/1.1 431 ") or not endless  # reset, where more was under way
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert waited_s > HEAD_S / 2


FORMS = {
    "a form": ("/upload", FORM),
    "multipart/related": ("/studies", RELATED),
    "an instance": ("/upload", {"Content-Type": "application/dicom"}),
    "a zip": ("/upload", {"Content-Type": "application/zip"}),
    "the zip of a run": ("/v1/model/start/PassThroughModel:1729", {}),
}


def dripped(address: str, head: bytes, piece: bytes, *, timeout_s: float = 30) -> bytes:
    """Send the same bytes ten times a second, until something is answered or the other side closes."""
    where, until_s = urlsplit(address), time.monotonic() + timeout_s
    with socket.create_connection((str(where.hostname), int(where.port or 80)), timeout=0.1) as connection:
        came = b""
        connection.sendall(head)
        while not _is_whole(came) and time.monotonic() < until_s:
            try:
                more = connection.recv(65536)
            except TimeoutError:
                connection.sendall(piece)
                continue
            if not more:
                break
            came += more
    return came


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("piece", "waits_s", "words"),
    [
        (b"-", IDLE_S, f"expected {LEAST_BYTES} bytes of the body or more in each {IDLE_S} s"),
        (b"-" * LEAST_BYTES, BODY_S, f"expected it whole in {BODY_S} s"),
    ],
    ids=["slowly", "without end"],
)
def test_a_body_that_comes_slowly_or_never_ends_is_given_up(north, impatient, name, piece, waits_s, words):
    path, headers = FORMS[name]
    secrets = {"Authorization": f"Token {north.token}", "API_AUTH_SECRET": north.token, "Content-Length": "9000000"}
    lines = [f"{header}: {value}" for header, value in {**secrets, **headers}.items()]
    started = time.monotonic()

    answer = dripped(impatient, request(path, *lines), piece)
    took_s = time.monotonic() - started

    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert words.encode() in answer or "run" in name  # whose answers are of its dialect
    assert took_s > waits_s / 2


def test_a_compressed_body_is_refused_and_never_inflated(north, ingest_pid):
    headers = {**north.headers, "Content-Type": "application/dicom", "Content-Encoding": "gzip"}

    with bounded_memory(ingest_pid):
        answer = ask(north.stack, "POST", "/upload", headers=headers, body=zlib.compress(bytes(50_000_000)))

    assert answer.status == 415
    assert answer.json()["message"] == "expected a body without Content-Encoding"


MULTIPARTS = {
    "a boundary of 10 KB": ("b" * 10_240, b"--" + b"b" * 10_240 + b"\r\n\r\n1\r\n", "boundary of at most 200 bytes"),
    "another boundary": ("b", b"--c\r\n\r\n1\r\n--c--", "begins with its boundary"),
    "no closing boundary": ("b", b"--b\r\n\r\n1\r\n", "closing boundary"),
    "an endless preamble": ("b", b"preamble " * 100_000, "begins with its boundary"),
    "endless headers of a part": ("b", b"--b\r\n" + b"X: 1\r\n" * 100_000, "RFC 2046"),
    "a header of a part without end": ("b", b"--b\r\nX: " + b"a" * 1_000_000, "RFC 2046"),
}


@pytest.mark.parametrize("name", MULTIPARTS)
def test_a_multipart_body_that_breaks_its_form_is_refused_in_words(north, name):
    boundary, body, words = MULTIPARTS[name]
    headers = {**north.headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}

    answer = ask(north.stack, "POST", "/upload", headers=headers, body=body)

    assert answer.status == 400
    assert words in answer.json()["message"]


def test_100_000_parts_are_too_many(north, ingest_pid):
    parts = (b"--b\r\n\r\nx\r\n" * 1000 for _ in range(100))
    headers = {**north.headers, "Content-Type": "multipart/form-data; boundary=b"}

    with bounded_memory(ingest_pid):
        answer = ask(north.stack, "POST", "/upload", headers=headers, body=parts)

    assert answer.status == 413
    assert answer.json()["message"] == "expected at most 20000 parts in one request"


@pytest.mark.parametrize(
    "body",
    [
        b'{"series": ' + b"[" * 50_000,
        b'{"series": ' + b'{"a":' * 50_000,
        b'{"series": [{"Rows": ' + b"9" * 5000 + b"}]}",
        b'{"series": [{"Modality": "\xed\xa0\x80"}]}',
        b'{"series": [{"Modality": "\\ud800", "\\udfff": 1}], "source": {"dialect": "upload"}}',
        b'{"series": [{"Rows": 1e999}], "source": {"dialect": "upload", "workspace": "\\ud800"}}',
        b'{"series": [{"a": "' + b"x" * 9_000_000 + b'"}]}',
    ],
    ids=["lists", "maps", "digits", "bytes", "surrogates", "numbers", "9 MB"],
)
def test_json_that_breaks_its_readers_is_a_refusal(radbus, north, body):
    headers = {**north.headers, "Content-Type": "application/json"}

    with bounded_memory(pid_of(radbus, radbus.replicas_of("router")[0])):
        answer = ask(north.stack, "POST", "/explain", headers=headers, body=body)

    assert 400 <= answer.status < 500
    assert answer.json()["success"] is False


def test_a_username_that_no_store_can_hold_is_nobodys(radbus):
    claims = "eyJpc3MiOiJcdWQ4MDAiLCJ1c2VybmFtZSI6Ilx1ZDgwMCJ9"  # {"iss":"\ud800","username":"\ud800"}
    body = json.dumps({"jwt": f"eyJhbGciOiJSUzI1NiJ9.{claims}.AAAA"}).encode()

    answer = ask(radbus, "POST", "/api/auth/jwt_login/", headers={"Content-Type": "application/json"}, body=body)

    assert answer.status == 401
    assert answer.json()["detail"]
