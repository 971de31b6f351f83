"""Made-up texts of known sizes: harmless prose with changing words, the same for the same salt, no two alike. PURE.

Every sentence has words of its own, so that neither a cache of texts nor one of sentences would help a server.
"""

import random
from typing import NamedTuple

SENTENCES = (
    "The {place} stood a little above the {plants}, and the first light came over the {height} at half past {number}.",
    "{name} put the {pot} on, opened the {opening} and counted the {animals}, as {name} did every {day}.",
    "{number} hikers had left their {things} by the {opening} and were still asleep under {number} blankets each.",
    "{name} cut the {food}, set out {food} and {food}, and wrote the weather on the slate by the {place}.",
    "Far below, the {vehicle} crept along the {water} like a beetle, and a bell rang in the {place}.",
    "By {number} the fog had gone, the {animals} were fed, and the path to the {height} lay dry in the sun.",
    "{name} hummed.",
    "They walked into the {place}, where {name} poured {number} cups of {drink} and sat down.",
    "The climbers reached the {height} at noon, ate their {food} and looked at the {water} far below.",
    "{name} laid a ring of {things} around each of the {plants} and watered them in the {day}.",
    "Ask {name} where the {pot} is, and show the guests the {opening} to the {place}.",
    "Both teams came by {vehicle}, circled the {water} for {number} hours, and the referee called it a draw.",
    "{name} was glad about the {drink}, and we talked about the {plants} for a while.",
    "The {day} went well: the meeting was moved, so {name} finally sorted the {things} near the {opening}.",
)
PROMPTS = (
    "Tell me about a quiet {day} at the {height} with {name}.",
    "How do I keep slugs off the {plants} behind the {place}?",
    "What should {name} pack for {number} hours on the {water}?",
    "Write about {name}, a {vehicle} and some {food}.",
)
WORDS = {
    "name": "Marta Ines Jonas Lena Oskar Petra Silvan Teresa Urs Vera Anton Bruno Clara Dario Edith Felix",
    "place": "hut kitchen village barn chapel station garden library workshop bakery mill school tower inn shed museum",
    "plants": "trees lettuces roses beans ferns apples pines tulips carrots leeks birches herbs melons onions pears vines",
    "height": "ridge pass hill summit cliff meadow terrace slope crest saddle plateau bank dune bluff knoll mound",
    "number": "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen twenty",
    "pot": "kettle pan soup lamp radio stew porridge oven heater coffee record music apron hat jam fire",
    "opening": "door window gate shutters stairs porch hatch arch corridor balcony fence cellar attic hall wall bench",
    "animals": "goats hens ducks sheep cows ponies bees geese rabbits donkeys cats dogs swallows pigeons lambs calves",
    "day": "morning evening Monday Tuesday Wednesday Thursday Friday Saturday Sunday spring autumn summer winter week day",
    "things": "boots baskets shells letters ropes books pencils maps buttons coats bottles ribbons postcards jars bags tools",
    "food": "bread butter honey cheese cake plums soup rice salad noodles walnuts cherries pancakes potatoes toast figs",
    "vehicle": "bus tram train ferry bicycle tractor cart boat sledge wagon van truck coach canoe scooter trolley",
    "water": "lake river brook pond canal glacier bay lagoon creek harbour fountain waterfall shore delta marsh spring",
    "drink": "tea coffee milk cocoa juice water lemonade broth cider syrup",
}
_CHOICES = {slot: words.split() for slot, words in WORDS.items()}
# Chosen so that the completions have 64 tokens on average and the longest tenth more than 127 (MiniLM's tokenizer).
MIXED_MEDIAN_BYTES, MIXED_SIGMA, MIXED_BYTES = 213, 0.78, (60, 1500)
CYCLE = 500
"""After so many texts the sizes begin again, so that measured service times can stand for later texts of the same size."""
FIXED_BYTES = {"fixed": 600, "600B": 600, "4KB": 4096, "16KB": 16384}


class Text(NamedTuple):
    """What one request carries."""

    prompt: str
    completion: str


def corpus(kind: str, count: int, salt: str = "") -> list[Text]:
    """Texts of a kind: `fixed`, `mixed`, `4KB` or `16KB`. Text i and text i + CYCLE have the same size, whatever the salt."""
    return [_text(kind, place, salt) for place in range(count)]


def _text(kind: str, place: int, salt: str) -> Text:
    words = random.Random(f"{kind}/{place}/{salt}")
    size = FIXED_BYTES.get(kind) or _mixed_bytes(random.Random(f"{kind}/{place % CYCLE}"))
    return Text(_filled(words.choice(PROMPTS), words), _prose(size, words))


def _mixed_bytes(source: random.Random) -> int:
    low, high = MIXED_BYTES
    return min(max(int(source.lognormvariate(0, MIXED_SIGMA) * MIXED_MEDIAN_BYTES), low), high)


def _prose(size: int, words: random.Random) -> str:
    """ASCII text of nearly `size` bytes: sentences in any order, the last one cut after a word."""
    text = ""
    while len(text) < size:
        text += _filled(words.choice(SENTENCES), words) + " "
    return text[: text.rindex(" ", 0, size)].rstrip(".") + "."


def _filled(sentence: str, words: random.Random) -> str:
    parts = sentence.split("{")
    filled = (slot.partition("}") for slot in parts[1:])
    text = parts[0] + "".join(words.choice(_CHOICES[slot]) + rest for slot, _, rest in filled)
    return text[0].upper() + text[1:]
