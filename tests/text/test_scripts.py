"""Scripts that the ensemble does not know, and what must not be taken for one."""

import pytest
from interlock_server.text.canonical import canonicalise
from interlock_server.text.scripts import in_known_script


def known(text: str) -> bool:
    return in_known_script(canonicalise(text)[0])


@pytest.mark.parametrize(
    "text",
    [
        "Она налила две чашки чая и села.",
        "她倒了两杯茶，坐了下来。",
        "彼女はお茶を二杯入れて座った。",
        "그녀는 차 두 잔을 따르고 앉았다.",
        "صبت كوبين من الشاي وجلست.",
        "היא מזגה שתי כוסות תה וישבה.",
        "She poured two cups of tea. Потом она села. Then it rained.",
    ],
)
def test_other_scripts_are_not_known(text: str):
    """Whole texts, and single sentences among English ones."""
    assert not known(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "She poured two cups of tea and sat down.",
        "¿Dónde está la farmacia más cercana?",
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
        "The Greek letters α, β and γ name the angles.",
        "His name, Михаил, means who is like God.",
        "She sтabbed him with a knife.",
        "Ｆｕｌｌｗｉｄｔｈ letters and 𝓼𝓬𝓻𝓲𝓹𝓽 ones are Latin after all.",
        "Good night 😀🎉 see you at 5 °C",
        "x² + y² = z², and 10 µm",
    ],
)
def test_latin_text_is_known(text: str):
    """Accents, a few letters of another script, tricks with look-alikes and emoji do not make a text foreign."""
    assert known(text)
