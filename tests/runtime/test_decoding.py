"""Bytes whose encoding nobody said become the text that was written, and what cannot be read stays visible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.decoding import decode

TEXTS = [
    *[("utf-8", text) for text in ("Größe", "已接受", "plain", "")],
    *[("utf-16", text) for text in ("# Größe\n", "# plain\n")],
    *[("utf-16-le", text) for text in ("plain words here", "Größe der Kisten")],
    *[("utf-16-be", text) for text in ("plain words here",)],
    *[
        ("cp1252", text)
        for text in ("Die Größe der Bücher", "Façade déjà vu", "It’s “good” – yes", "São Paulo, não aceito")
    ],
    *[("cp1250", text) for text in ("Zażółć gęślą jaźń", "Przyjęta decyzja: używać kolejki")],
    *[("cp1251", text) for text in ("Принято", "Решено вести журнал")],
    *[("koi8_r", text) for text in ("Принято", "Проверка клапана")],
    *[("cp932", text) for text in ("弁の点検", "承認済み", "これはキューを使う決定です")],
    *[("euc_jp", text) for text in ("これはキューを使う決定です",)],
    *[("gb18030", text) for text in ("我们决定使用队列", "阀门检查")],
    *[("big5", text) for text in ("閥門檢查", "我們決定使用佇列")],
    *[("euc_kr", text) for text in ("우리는 큐를 사용하기로 했다", "밸브 점검은 매년 한다")],
    *[
        ("utf-16-le", text)
        for text in ("弁の点検は毎年行う。その結果は工場の記録に残す。", "Проверка клапанов\n", "阀门检查每年一次\n")
    ],
    *[("utf-16-be", text) for text in ("Проверка клапанов", "弁の点検は毎年行う。", "Η βαλβίδα ελέγχεται")],
    *[(encoding, text) for encoding in ("utf-32-le", "utf-32-be") for text in ("Words here", "弁の点検は毎年")],
    ("iso2022_jp", "弁の点検は毎年行う。"),
    ("cp1253", "Η βαλβίδα ελέγχεται κάθε χρόνο, και το αποτέλεσμα γράφεται στο βιβλίο."),
    ("cp1254", "Vana her yıl kontrol edilir ve sonuç deftere yazılır, şöyle ağır iş."),
    ("cp1255", "השסתום נבדק בכל שנה והתוצאה נרשמת בספר"),
    ("cp1256", "يتم فحص الصمام كل عام وتكتب النتيجة في الكتاب"),
    ("cp1257", "Vožtuvas tikrinamas kiekvienais metais, ąčęėįšųūž"),
    ("cp874", "ตรวจสอบวาล์วทุกปีและบันทึกผลลงในสมุด"),
    ("cp866", "Проверка клапанов проводится каждый год"),
    *[(encoding, "Die Größe der Ventile wird jährlich geprüft") for encoding in ("mac_roman", "cp850", "cp437")],
    *[("iso8859_2", text) for text in ("Zażółć gęślą jaźń i sprawdź zawór",)],
    *[
        ("cp1252", text)
        for text in ("España ¿qué? ¡Sí!", "5 £ and 3 €", "Blåbærsyltetøy på brød", "Það er gott og ágætt")
    ],
]


@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_a_text_is_read_in_the_encoding_that_it_was_written_in(encoding: str, text: str) -> None:
    found = decode(text.encode(encoding))
    assert found.text == text
    assert found.exact


def test_damage_in_utf_8_stays_visible_and_the_rest_is_read() -> None:
    found = decode("Größe der Kisten".encode() + b"\xff\xfe")
    assert (found.text, found.exact) == ("Größe der Kisten\ufffd\ufffd", False)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_text(content: bytes) -> None:
    assert decode(content) == decode(content)


@given(st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_what_is_utf_8_is_never_taken_for_anything_else(text: str) -> None:
    assert decode(text.encode()).text == text


def test_bytes_of_no_encoding_are_not_made_a_text() -> None:
    assert not decode(bytes(range(0x80, 0x100)) * 9).exact


def test_some_zeros_in_a_text_do_not_make_it_another_encoding() -> None:
    for content in (b"one\0two\0three, four", b"\0a text with a zero before it", b"col1\x01col2\x01col3 words"):
        assert decode(content).text == content.decode()
