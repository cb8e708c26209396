"""Shows that verify_pledge.py can say no: makes a pledge in pure Python, then spoils it in every way named below."""

import base64
import pathlib
import sys
import tempfile

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from verify_pledge import BEGIN, DOMAIN, EIGHTH, END, FIELD, main

CIRCLE = bytes(range(32))
SIGNER = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
AUTHOR = SIGNER.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sealed(changes=None, header=None, circle=CIRCLE, unprotected=None):
    """The COSE_Sign1 bytes of a pledge, signed for `circle`."""
    record = {0: 1, 1: 2, 2: CIRCLE, 3: AUTHOR, 4: 0, 6: 1, 7: 29_900_000, 8: 30_100_000, 9: {0: b"\x01" * 32}}
    record |= changes or {}
    protected = cbor2.dumps(header or {1: -19}, canonical=True)
    payload = cbor2.dumps(record, canonical=True)
    aad = DOMAIN + circle + bytes([record[1]])
    signature = SIGNER.sign(cbor2.dumps(["Signature1", protected, aad, payload]))
    return cbor2.dumps([protected, unprotected or {}, payload, signature], canonical=True)


def small_order_keys():
    """Every encoding of a point of small order: eight points, some of them with more than one."""
    heights = (0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH, FIELD, FIELD + 1)
    return [(y | sign << 255).to_bytes(32, "little") for y in heights for sign in (0, 1)]


def for_nobody(author):
    """A pledge by a key of small order: R = the neutral element and s = 0 fit without a secret, where nobody looks."""
    protected, unprotected, payload, _ = cbor2.loads(sealed({3: author}))
    return cbor2.dumps([protected, unprotected, payload, b"\x01" + bytes(63)], canonical=True)


def export(data, folder):
    lines = base64.encodebytes(data).decode()
    path = folder / "pledge.txt"
    path.write_text(f"A pledge, in words.\n\n{BEGIN}\n{lines}{END}\n", encoding="utf-8")
    return str(path)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def check():
    genuine = sealed()
    spoiled = {
        "signed for another circle": sealed(circle=b"\xff" * 32),
        "another kind of record": sealed({1: 3}),
        "expired before it was made": sealed({8: 29_899_999}),
        "larger than a record may be": sealed({9: {0: b"\x01" * 5000}}),
        "another version": sealed({0: 2}),
        "another algorithm named": sealed(header={1: -8}),
        "a second protected header": sealed(header={1: -19, 4: b"k"}),
        "an unprotected header": sealed(unprotected={4: b"k"}),
        "a payload key too many": sealed({10: 0}),
        "a null where the key should be absent": sealed({5: None}),
        "a link to a record before": sealed({5: b"\x01" * 32}),
        "a Lamport time of 32 bytes": sealed({6: b"\x01" * 32}),
        "a Lamport time of 2^53": sealed({6: 2**53}),
        "a negative Lamport time": sealed({6: -1}),
        "a number that is true": sealed({4: True}),
        "an array of indefinite length": b"\x9f" + genuine[1:] + b"\xff",
        "bytes at the end": genuine + b"\x00",
        "cut short": genuine[:-1],
    }
    spoiled |= {f"the small-order key {key.hex()}": for_nobody(key) for key in small_order_keys()}
    spoiled |= {f"bit {bit} flipped": flipped(genuine, bit) for bit in range(0, 8 * len(genuine), 7)}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shown, sys.stdout = sys.stdout, open(folder / "answers", "w", encoding="utf-8")
        try:
            wrong = [] if main([export(genuine, folder)]) == 0 else ["the genuine pledge was refused"]
            wrong += [f"accepted: {how}" for how, data in spoiled.items() if main([export(data, folder)]) != 1]
            for circle, expected in ((CIRCLE, 0), (b"\xff" * 32, 1)):
                if main([export(genuine, folder), "--circle", circle.hex()]) != expected:
                    wrong.append(f"--circle {circle.hex()}: not {expected}")
            # Armour that is not there, or there twice, is refused too.
            path = pathlib.Path(export(genuine, folder))
            path.write_text(path.read_text(encoding="utf-8") * 2, encoding="utf-8")
            wrong += [] if main([str(path)]) == 1 else ["accepted: two pledges in a file"]
            wrong += [] if main([str(folder / "none")]) == 1 else ["accepted: no file"]
        finally:
            sys.stdout.close()
            sys.stdout = shown
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"Python check of itself: 1 genuine pledge, {len(spoiled) + 3} spoiled ones, {len(wrong)} judged wrongly.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(check())
