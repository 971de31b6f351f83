"""Letters of other scripts that look like Latin ones (after UTS #39, the common part). Used only in words that mix scripts."""

_CYRILLIC = {
    "а": "a", "в": "b", "е": "e", "з": "3", "и": "u", "к": "k", "м": "m", "н": "h", "о": "o", "п": "n", "р": "p",
    "с": "c", "т": "t", "у": "y", "х": "x", "ь": "b", "ѕ": "s", "і": "i", "ї": "i", "ј": "j", "һ": "h", "ԁ": "d",
    "ԛ": "q", "ԝ": "w", "ғ": "f", "ҫ": "c", "ӏ": "l", "ԍ": "g", "ѵ": "v", "ѡ": "w", "ё": "e", "г": "r",
}  # fmt: skip
_GREEK = {
    "α": "a", "β": "b", "γ": "y", "ε": "e", "η": "n", "ι": "i", "κ": "k", "μ": "u", "ν": "v", "ο": "o", "ρ": "p",
    "σ": "o", "τ": "t", "υ": "u", "χ": "x", "ω": "w", "ϳ": "j",
}  # fmt: skip
_ARMENIAN = {"ա": "w", "գ": "q", "հ": "h", "ո": "n", "ս": "u", "օ": "o", "ց": "g", "զ": "q", "յ": "j", "ք": "p"}
_LATIN = {
    "ı": "i", "ɑ": "a", "ɡ": "g", "ɩ": "i", "ʏ": "y", "ʀ": "r", "ɴ": "n", "ɪ": "i", "ʟ": "l", "ø": "o", "ł": "l",
    "đ": "d", "ħ": "h", "ŧ": "t", "ƅ": "b", "ɛ": "e", "ɔ": "o", "ʋ": "v", "ɯ": "w", "ƙ": "k", "ɦ": "h", "ᴀ": "a",
    "ᴄ": "c", "ᴅ": "d", "ᴇ": "e", "ᴊ": "j", "ᴋ": "k", "ᴍ": "m", "ᴏ": "o", "ᴘ": "p", "ᴛ": "t", "ᴜ": "u", "ᴠ": "v",
    "ᴡ": "w", "ᴢ": "z", "ꜱ": "s", "ꜰ": "f", "ʙ": "b", "ɢ": "g", "ʜ": "h",
}  # fmt: skip

CONFUSABLES = str.maketrans(_CYRILLIC | _GREEK | _ARMENIAN | _LATIN)
"""Case-folded look-alike -> ASCII letter, for `str.translate`."""

CASED = {"Η": "h", "Μ": "m", "Ν": "n", "Υ": "y", "Ζ": "z", "ς": "c", "ϲ": "c", "Ϲ": "c"}
"""Greek letter -> the ASCII letter that it looks like, where folding its case gives one that looks otherwise ("Ν", "ν")."""

LATIN_LOOKALIKES = frozenset(_LATIN)
"""Letters of Latin script, such as small capitals: a word that has one is a Latin word."""
