"""Verifies an exported pledge with Python's cwt: none of Undertone's code takes part.

    verify_pledge.py FILE [--circle ID]   exit 0 and a summary in words: genuine; exit 1 and the reason: not
    verify_pledge.py --ready              exit 0: the libraries are there, at the versions asked for

With --circle, 64 hexadecimal digits, a genuine pledge for any other circle is refused too.

The file is text: a preamble in words, then base64 between two marker lines. The bytes are a COSE_Sign1 array without its
tag (RFC 9052), over a CBOR map with integer keys. What is signed besides the payload (external_aad) ties the record to its
circle and its kind: "undertone/1/record" || circle id || kind.
"""

import base64
import binascii
import datetime
import importlib.metadata
import pathlib
import re
import sys

import cbor2
from cwt import COSE, COSEKey

BEGIN, END = "-----BEGIN UNDERTONE PLEDGE-----", "-----END UNDERTONE PLEDGE-----"
DOMAIN = b"undertone/1/record"
ALG, ED25519 = 1, -19
VERSION, KIND, CIRCLE, AUTHOR, SEQ, PREV, LAMPORT, CREATED, EXPIRES, BODY = range(10)
PLEDGE = 2
MOST_BYTES = 4096
FIELD = 2**255 - 19
# The y coordinates of the eight points of small order (RFC 8032's curve): a key among them fits signatures nobody made.
EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}


class Refused(Exception):
    """Why a file is not a genuine pledge, in words for a person."""


def require(holds, reason):
    if not holds:
        raise Refused(reason)


def envelope_of(text):
    """The bytes between the two markers."""
    blocks = re.findall(re.escape(BEGIN) + r"\s(.*?)" + re.escape(END), text, re.DOTALL)
    require(len(blocks) == 1, f"expected one pledge between its two marker lines, found {len(blocks)}")
    try:
        return base64.b64decode("".join(blocks[0].split()), validate=True)
    except binascii.Error as error:
        raise Refused(f"the text between the markers is not base64 ({error})") from error


def decode_exact(data, what):
    """Decodes deterministic CBOR (RFC 8949 section 4.2), and nothing that merely means the same."""
    try:
        value = cbor2.loads(data)
    except Exception as error:
        raise Refused(f"{what} is not CBOR ({error})") from error
    require(cbor2.dumps(value, canonical=True) == data, f"{what} is not in deterministic form")
    return value


def is_number(value):
    return type(value) is int and 0 <= value < 2**53


def has_small_order(point):
    """Whether 32 bytes name a point of small order, in whichever of the encodings that libraries take."""
    return (int.from_bytes(point, "little") & (2**255 - 1)) % FIELD in SMALL_ORDER


def verify(data):
    """Returns the payload of a genuine pledge; raises Refused otherwise."""
    require(len(data) <= MOST_BYTES, "it is larger than any record")
    envelope = decode_exact(data, "the envelope")
    require(isinstance(envelope, list) and len(envelope) == 4, "the envelope is not a COSE_Sign1 array of four")
    protected, unprotected, payload, signature = envelope
    require(all(isinstance(part, bytes) for part in (protected, payload, signature)), "a part of the envelope is no byte string")
    require(unprotected == {}, "the unprotected header is not empty")
    require(decode_exact(protected, "the protected header") == {ALG: ED25519}, "the protected header is not {alg: Ed25519} alone")

    record = decode_exact(payload, "the payload")
    # PREV links the records of whoever leads to one another; a pledge stands alone.
    require(isinstance(record, dict) and set(record) == set(range(10)) - {PREV}, "the payload does not have the keys it must")
    require(record[VERSION] == 1, f"version {record[VERSION]} is not known here")
    require(record[KIND] == PLEDGE, f"this is a record of kind {record[KIND]}, not a pledge")
    for key, name in ((CIRCLE, "circle id"), (AUTHOR, "author's key")):
        require(isinstance(record[key], bytes) and len(record[key]) == 32, f"the {name} is not 32 bytes")
    for key, name in ((SEQ, "number"), (LAMPORT, "Lamport time"), (CREATED, "time"), (EXPIRES, "expiry")):
        require(is_number(record[key]), f"the {name} is not a whole number below 2^53")
    require(record[CREATED] <= record[EXPIRES], "it expires before it was made")
    require(not has_small_order(record[AUTHOR]), "the author's key is one that fits signatures nobody made")

    key = COSEKey.new({1: 1, 3: ED25519, -1: 6, -2: record[AUTHOR]})
    aad = DOMAIN + record[CIRCLE] + bytes([record[KIND]])
    try:
        COSE.new().decode(cbor2.CBORTag(18, envelope), key, external_aad=aad)
    except Exception as error:
        raise Refused("the signature is not the author's, or something was changed after signing") from error
    return record


def in_words(record):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    when = lambda minutes: (epoch + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M UTC")
    return "\n".join((
        "Genuine: a pledge, and nothing in it was changed since it was signed.",
        f"  signed by  {record[AUTHOR].hex()}",
        f"  in circle  {record[CIRCLE].hex()}",
        f"  made       {when(record[CREATED])}",
        f"  expires    {when(record[EXPIRES])}",
    ))


def ready():
    """Whether what is installed is what requirements.txt asks for."""
    wanted = pathlib.Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
    return all(importlib.metadata.version(name) == version for name, version in re.findall(r"^(\w+)==(\S+)$", wanted, re.M))


def main(arguments):
    if arguments == ["--ready"]:
        return 0 if ready() else 1
    circle = None
    if len(arguments) == 3 and arguments[1] == "--circle":
        circle = arguments[2].strip().lower()
    elif len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        text = pathlib.Path(arguments[0]).read_text(encoding="utf-8")
        record = verify(envelope_of(text))
        require(circle in (None, record[CIRCLE].hex()), f"it was signed for another circle, {record[CIRCLE].hex()}")
        print(in_words(record))
        return 0
    except (OSError, UnicodeDecodeError) as error:
        print(f"Not genuine: the file can't be read ({error}).")
    except Refused as reason:
        print(f"Not genuine: {reason}.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
