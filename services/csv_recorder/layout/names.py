"""From what a student typed as a name to a file name that is safe everywhere.

Safe means: one path component that Linux, macOS and Windows all take, and that no other name shares.
"""

import hashlib
import re
import unicodedata
from typing import Final

STEM_MAX_BYTES: Final = 180
"""File systems take 255 bytes; the rest is for a code, a hash and the ending."""
HASH_CHARS: Final = 6
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
"""What Windows forbids, the path separators of all systems among it."""
_RESERVED: Final = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³]|CONIN\$|CONOUT\$)(\..*)?\Z", re.IGNORECASE)
"""Names of devices on Windows, with any ending."""
INDEX: Final = "names.csv"
"""Lists the file of every name; so a student who is called that gets a hash."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that have no place in a file name: controls, text direction, line ends, unassigned."""


def safe_stem(name: str) -> str:
    """The file name, without an ending, of a name. A name that is safe as it is stays; any other gets a hash."""
    clean = unicodedata.normalize("NFC", name)
    clean = "".join("_" if unicodedata.category(each) in _UNSEEN else each for each in clean)
    clean = _FORBIDDEN.sub("_", clean).strip(" ").rstrip(". ").lstrip(".")
    if _RESERVED.match(clean) or file_key(f"{clean}.csv") == INDEX:
        clean = f"_{clean}"
    if len(clean.encode()) > STEM_MAX_BYTES:
        clean = clean.encode()[:STEM_MAX_BYTES].decode(errors="ignore").rstrip(". ")
    return clean if clean == name and clean else with_hash(clean or "_", name)


def with_hash(stem: str, name: str) -> str:
    """The stem with six hexadecimal digits of the name's SHA-256: for a stem that another name has already."""
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:HASH_CHARS]}"


def file_key(file_name: str) -> str:
    """Equal for two file names that are one file somewhere: case and composition do not tell files apart there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file_name).casefold())
