"""Words that nearly every English sentence has some of, with those that harm is spoken of in. No model, just a table."""

_PLAIN = """
the of and to in is it you that he was for on are with as his they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did down
only way find use may water long little very after words called just where most know get through back much before go
good new write our used me man too any day same right look think also around another came come work three word must
because does part even place well such here take why things help put years different away again off went old number
great tell men say small every found still between name should home big give air line set own under read last never us
left end along while might next sound below saw something thought both few those always looked show large often
together asked house don world going want school important until form food keep children feet land side without boy
once animals life enough took sometimes four head above kind began almost live page got earth need far hand high year
mother light parts country father let night following picture being study second eyes soon times story boys since white
days ever paper hard near sentence better best across during today others however sure means knew try told young
miles sun ways thing whole hear example heard several change answer room sea against top turned learn point city play
toward five using himself usually money seen didn car morning give please yes woman women friend person am im hello let
anyone everyone nobody someone nothing anything step steps instructions message ignore secret password
"""
_HARMFUL = """
kill killed killing kills murder stab stabbed shoot shot gun guns knife bomb bombs explosive explode poison drug drugs
meth cocaine heroin weapon weapons attack attacks blood dead death die dies suicide hurt harm hate rape raped rob steal
stolen hack hacked burn beat strangle choke torture terrorist slaughter jews muslims blacks whites gays immigrants
nigger niggers faggot faggots bitch cunt fuck fucking shit whore slut nazi nazis throat wrist wrists body victim
overdose pills rope hang hanging jump bridge cut cutting slit build buy sell child kid kids girl girls fire
"""

ENGLISH = frozenset(word for word in _PLAIN.split() if len(word) > 1)
COMMON = ENGLISH | frozenset(_HARMFUL.split())
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_ROT13 = str.maketrans(_LOWER, _LOWER[13:] + _LOWER[:13])
_NOT_A_LETTER = {code: " " for code in range(128) if not chr(code).isalpha()}


def rot13(text: str) -> str:
    """Every small Latin letter thirteen places on."""
    return text.translate(_ROT13)


def words(text: str) -> list[str]:
    """Runs of letters."""
    return text.translate(_NOT_A_LETTER).split()


# Common words as they look encoded; some are words or names themselves ("was", "saw"), which say nothing.
_WORDS_TOO = """
won mi era evil ma na nod sa em trap pot si os tel ton su fi ta bats tub ti strap moor pets peek bar jr vs fur ba ab jung va
ol gel jul god dog pots live lived devil tar rat pans snug keep tip nip raw war pal lap tap gut tug bin nib nap pan gun nab
ban deer reed loop tide edit emit reward drawer
"""
IN_ROT13 = frozenset(map(rot13, COMMON)) - COMMON - frozenset(_WORDS_TOO.split())
IN_REVERSE = frozenset(word[::-1] for word in COMMON) - COMMON - frozenset(_WORDS_TOO.split())
