"""What somebody who opens a mail sees of its parts, however they are put together."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, child

HEAD = "Received: x\nMessage-ID: <1@x>\nSubject: subject\nFrom: a@x\n"
PICTURE = "Content-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n"
LARGE = base64.encodebytes(b"x" * 120_000).decode()


def read(folder: Path, mail: str | bytes, name: str = "a.eml") -> Parsed:
    path = folder / "upload"
    path.write_bytes(mail.replace("\n", "\r\n").encode() if isinstance(mail, str) else mail)
    answer = child.answer(ParseRequest(str(path), name, Limits()))
    assert isinstance(answer, Parsed), answer
    return answer


def body(answer: Parsed) -> str:
    return answer.text.partition("From: a@x")[2].strip()


def parts(kind: str, *each: str, boundary: str = "b") -> str:
    joined = "".join(f"--{boundary}\n{part}\n" for part in each)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n{joined}--{boundary}--\n"


def text(content: str, kind: str = "plain") -> str:
    return f"Content-Type: text/{kind}\n\n{content}"


@pytest.mark.parametrize(
    ("page", "shown"),
    [("<p>page</p>", "page"), ("", "plain"), ("<html><body><img src=cid:1></body></html>", "plain")],
)
def test_of_alternatives_one_that_says_something_is_shown(tmp_path: Path, page: str, shown: str) -> None:
    answer = read(tmp_path, HEAD + parts("alternative", text("plain"), text(page, "html")))
    assert body(answer) == shown


@pytest.mark.parametrize(
    ("mail", "files"),
    [
        (parts("mixed", text("seen"), PICTURE + "eHg="), 1),
        (parts("related", text("<p>seen<img src=cid:1>", "html"), PICTURE + "eHg="), 0),
        (parts("related", text("<p>seen<img src=cid:1>", "html"), PICTURE + LARGE), 1),
    ],
)
def test_a_picture_that_is_no_ornament_is_named(tmp_path: Path, mail: str, files: int) -> None:
    answer = read(tmp_path, HEAD + mail)
    assert body(answer) == "seen"
    assert [gap.code for gap in answer.gaps] == ["embedded-files"] * files


@pytest.mark.parametrize("boundary", ["", "; boundary=other"])
def test_parts_whose_boundary_is_wrong_are_text(tmp_path: Path, boundary: str) -> None:
    mail = f"{HEAD}Content-Type: multipart/mixed{boundary}\n\n--b\n{text('some words')}\n--b--\n"
    assert "some words" in body(read(tmp_path, mail))


def test_all_mails_of_a_mailbox_are_read(tmp_path: Path) -> None:
    begin = "From a@x Mon Jan  1 00:00:00 2024\n"
    first = begin + HEAD + parts("mixed", text("first\nFrom here on it is text"))
    second = begin + HEAD.replace("subject", "other") + text("<p>second</p>", "html")
    answer = read(tmp_path, f"{first}\n{second}\n\n{second.replace('second', 'third')}", "a.mbox")
    assert answer.title == "subject"
    assert [line for line in answer.text.splitlines() if line and not line.startswith("From: a@x")] == [
        "# subject", "first", "From here on it is text", "# other", "second", "# other", "third",
    ]  # fmt: skip
    assert not answer.partial


def test_a_report_says_what_failed(tmp_path: Path) -> None:
    report = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nStatus: 5.1.1\n"
    answer = read(tmp_path, HEAD + parts("report", text("It came back."), report))
    assert "It came back." in body(answer)
    assert "Status: 5.1.1" in body(answer)
    assert not answer.partial


@pytest.mark.parametrize(
    ("head", "content", "shown"),
    [
        ("Content-Type: text/plain; charset=utf-7", b"Gr+APYA3w-e", "Größe"),
        ("Content-Type: text/plain; charset=us-ascii", "Größe".encode(), "Größe"),
        ("Content-Type: text/html; charset=us-ascii",
         "<meta charset=windows-1251><p>Привет".encode("cp1251"), "Привет"),
        ("Content-Type: text/plain; charset=gb2312", "㐀阀门".encode("gb18030"), "㐀阀门"),
    ],
)  # fmt: skip
def test_encodings_of_parts(tmp_path: Path, head: str, content: bytes, shown: str) -> None:
    assert body(read(tmp_path, f"{HEAD}{head}\n\n".replace("\n", "\r\n").encode() + content)) == shown


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_subject_in_bytes_as_they_are_is_read(tmp_path: Path, encoding: str) -> None:
    mail = (HEAD.replace("subject", "Größe für Äpfel") + "\ntext").replace("\n", "\r\n").encode(encoding)
    assert read(tmp_path, mail).title == "Größe für Äpfel"


def test_a_part_that_is_in_no_encoding_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    unknown = bytes(range(0x80, 0x100)) * 5
    mail = (HEAD + parts("mixed", text("good"), text("UNKNOWN"))).replace("\n", "\r\n").encode()
    answer = read(tmp_path, mail.replace(b"UNKNOWN", unknown))
    assert body(answer) == "good"
    assert [gap.code for gap in answer.gaps] == ["damaged-parts"]


def test_style_sheets_that_a_browser_saved_beside_a_page_hide(tmp_path: Path) -> None:
    links = '<link rel=stylesheet href="cid:s@x"><link rel=stylesheet media=print href="http://x/p.css">'
    page = f"<html><head>{links}</head><body><p>shown<p class=a>gone<p class=b>printed elsewhere</body></html>"
    sheets = (
        "Content-Type: text/css\nContent-ID: <s@x>\n\n.a{display:none}",
        "Content-Type: text/css\nContent-Location: http://x/p.css\n\n.b{display:none}",
    )
    answer = read(tmp_path, HEAD + parts("related", text(page, "html"), *sheets), "a.mhtml")
    assert body(answer).split() == ["shown", "printed", "elsewhere"]


@pytest.mark.parametrize(
    ("more", "content", "shown"),
    [
        ("", "Check the \nvalve and \nthe pump.\n\nThen start.", "Check the valve and the pump.\n\nThen start."),
        ("", "> When is \n> it due?\n>> Ask \n> Ada \nMonday \n> or", "> When is it due?\n>> Ask\n> Ada\nMonday\n> or"),
        ("", "Yours \n-- \nAda \nWorks", "Yours\n-- \nAda Works"),
        ("", " > no quote\n From here", "> no quote\nFrom here"),
        ("; delsp=yes", "\u9600\u9580 \n\u6aa2\u67e5", "\u9600\u9580\u6aa2\u67e5"),
        ("; DelSp=\"Yes\"", "the  \npump", "the pump"),
        ("; x=y", "ends with a blank ", "ends with a blank"),
    ],
)  # fmt: skip
def test_lines_that_flow_are_one_paragraph(tmp_path: Path, more: str, content: str, shown: str) -> None:
    mail = f"{HEAD}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=Flowed{more}\n\n{content}\n"
    answer = read(tmp_path, mail)
    assert body(answer) == shown
    assert not answer.partial


def test_lines_that_do_not_flow_stay_as_they_are(tmp_path: Path) -> None:
    mail = f"{HEAD}Content-Type: text/plain; charset=utf-8\n\n> one \n> two\n> three"
    lines = [each.strip("\\ ") for each in body(read(tmp_path, mail)).splitlines() if each]
    assert lines == ["> one", "> two", "> three"]


# --- mails within mails ---------------------------------------------------------------------------------------------


def within(mail: str, kind: str = "message/rfc822", more: str = "") -> str:
    return f"Content-Type: {kind}\n{more}\n{mail}"


def passed_on(subject: str, content: str) -> str:
    return f"Subject: {subject}\nFrom: b@x\nMIME-Version: 1.0\n{content}"


def test_a_mail_that_was_passed_on_stands_below_with_its_own_head(tmp_path: Path) -> None:
    innermost = passed_on("innermost", text("The curlew sleeps."))
    inner = passed_on(
        "inner", parts("mixed", text("The heron fishes."), PICTURE + "eHg=", within(innermost), boundary="i")
    )
    attached = "Content-Disposition: attachment; filename=passed.eml\n"
    answer = read(tmp_path, HEAD + parts("mixed", text("See below."), within(inner, more=attached)))
    assert answer.title == "subject"
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("From: ")]
    assert lines == ["# subject", "See below.", "## inner", "The heron fishes.", "### innermost", "The curlew sleeps."]
    assert answer.text.count("From: b@x") == 2
    assert [gap.code for gap in answer.gaps] == ["embedded-files"], "the picture that is attached to the inner one"
    assert answer.counts["text"].held == answer.counts["text"].kept


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_mail_that_was_encoded_against_the_rules_is_read(tmp_path: Path, encoding: str) -> None:
    inner = passed_on("inner", text("The heron fishes = at dawn."))
    packed = base64.encodebytes(inner.encode()).decode() if encoding == "base64" else inner.replace("=", "=3D")
    more = f"Content-Transfer-Encoding: {encoding}\n"
    answer = read(tmp_path, HEAD + parts("mixed", text("See below."), within(packed, more=more)))
    assert "## inner" in answer.text
    assert "The heron fishes = at dawn." in answer.text


def test_mails_within_mails_without_end_have_a_bound(tmp_path: Path) -> None:
    mail = passed_on("last", text("The end."))
    for number in range(30):
        mail = passed_on(f"s{number}", within(mail))
    answer = read(tmp_path, HEAD + within(mail))
    assert "s29" in answer.text
    assert "The end." not in answer.text
    assert [(gap.code, "mail within more than 8" in gap.detail) for gap in answer.gaps] == [("embedded-files", True)]


@pytest.mark.parametrize("payload", ["", "not a mail at all", "Subject: only a head"])
def test_what_is_no_mail_within_is_no_reason_to_refuse_the_rest(tmp_path: Path, payload: str) -> None:
    answer = read(tmp_path, HEAD + parts("mixed", text("good"), within(payload)))
    assert "good" in answer.text


def test_a_mail_in_a_form_that_is_not_shown_is_a_copy(tmp_path: Path) -> None:
    hidden = within(passed_on("hidden", text("nobody sees it")))
    answer = read(tmp_path, HEAD + parts("alternative", hidden, text("<p>page</p>", "html")))
    assert body(answer) == "page"
    assert answer.counts["copy"].kept == 0 < answer.counts["copy"].held
