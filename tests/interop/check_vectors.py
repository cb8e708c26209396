"""Checks Undertone's golden vectors and malformed corpus with Python alone, as docs/protocol.md describes them.

    check_vectors.py [FOLDER]      exit 0: every vector is as the specification says; exit 1: not, and which

None of Undertone's code takes part: cbor2 for CBOR, cwt for COSE, cryptography for the primitives, and what none of them has
(HChaCha20, HPKE's Auth mode, SFrame) in the few lines it takes. fold.py computes what a history of records amounts to.
"""

import base64
import collections
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
import unicodedata

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cwt import COSE, COSEKey

import fold
from verify_pledge import ALG, DOMAIN, ED25519, has_small_order

FOLDER = pathlib.Path(__file__).parents[2] / "protocol" / "tests" / "vectors"
MOST = 2**53 - 1
U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1


class Refused(Exception):
    """Why bytes are not what they claim to be."""


def require(holds, reason):
    if not holds:
        raise Refused(reason)


# --- Records: form ------------------------------------------------------------------------------------------------------


def number(most=MOST, least=0):
    return lambda value: type(value) is int and least <= value <= most


def data(exactly=None, most=None):
    return lambda value: type(value) is bytes and exactly in (None, len(value)) and (most is None or len(value) <= most)


def words(most=None):
    return lambda value: type(value) is str and (most is None or len(value.encode()) <= most)


def truth(value):
    return type(value) is bool


def many(each, most=None):
    return lambda value: type(value) is list and (most is None or len(value) <= most) and all(map(each, value))


def fields(*required, **optional):
    """A map with keys 0, 1, 2 … in this order; optional ones are named k2, k14 and so on."""
    maybe = {int(name[1:]): check for name, check in optional.items()}
    free = iter(key for key in range(99) if key not in maybe)
    always = dict(zip(free, required))

    def check(value):
        if type(value) is not dict or not set(always) <= set(value) <= set(always) | set(maybe):
            return False
        return all((always | maybe)[key](value[key]) for key in value)

    return check


INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def name(value):
    return (
        words(120)(value)
        and value.strip() != ""
        and not any(unicodedata.category(letter) == "Cc" for letter in value)
        and not INVISIBLE.search(value)
    )


def sealing_key(value):
    try:
        X25519PrivateKey.from_private_bytes(bytes(range(32))).exchange(X25519PublicKey.from_public_bytes(value))
        return True
    except (ValueError, TypeError):
        return False


MARKS = ["topic", "harm", "adult", *"abcd", *"12345678"]
key, ident, seconds, role = data(32), data(32), number(3600, 1), number(4)
empty = fields()
subject, told = fields(key), fields(ident)
cut = fields(number(), ident)
puzzle_cost = fields(number(2**18, 8), number(20))
invite_proof = fields(key, key, number(), data(64), data(64))
head = fields(key, number())
sealed_words = fields(key, data(most=2048))
sealed_key = fields(key, data(most=128))


def charter(value):
    base = fields(
        name, name, name, key, key, key, number(2), data(32), number(16, 2), seconds, number(1), truth, number(2), data(16),
        k14=puzzle_cost, k15=name, k16=number(1),
    )
    return base(value) and (14 in value) == (value[6] == 2)


def epoch(value):
    return fields(number(U32), many(sealed_key, 16))(value) and len({s[0] for s in value[1]}) == len(value[1])


BODIES = {
    1: ("Charter", charter),
    2: ("Pledge", lambda value: fields(data(32), many(words()))(value) and value[1] == MARKS),
    3: ("Join", fields(name, sealing_key, ident, k3=invite_proof, k4=number())),
    4: ("Admission", fields(key, role, ident)),
    5: ("Refusal", fields(key, truth, ident)),
    6: ("Hello", fields(
        data(32), data(64), many(head, 24), many(number(U64), 32), many(words(64), 8), number(),
        k6=fields(ident, number(U16)),
    )),
    7: ("Removal", fields(key, lambda v: v in MARKS[3:], k2=number(), k3=cut)),
    8: ("TurnRequest", fields(number(), number())),
    9: ("TurnGrant", fields(key, seconds, k2=ident)),
    10: ("TurnRelease", fields(key, ident)),
    11: ("Leave", told),
    12: ("Epoch", epoch),
    13: ("Announcement", fields(data(), number(16), words(2048), number(), k1=number())),
    14: ("Reinstatement", told),
    15: ("Delegation", fields(key, number(3, 1))),
    16: ("Revocation", fields(key, cut)),
    17: ("CeaseRequest", subject),
    18: ("CeaseAcknowledgement", told),
    19: ("Mute", fields(key, number())),
    20: ("TurnExtend", fields(ident, seconds)),
    21: ("Freeze", fields(truth)),
    22: ("Mode", fields(number(1))),
    23: ("Door", fields(truth)),
    24: ("Close", empty),
    25: ("Thanks", fields(key, number(3))),
    26: ("CrisisReferral", fields(sealed_words)),
    27: ("ContactRequest", fields(sealed_words)),
    28: ("ContactAnswer", fields(ident, sealed_words)),
    29: ("Erase", told),
    30: ("Succession", fields(key, key, cut)),
    31: ("Equivocation", fields(data(), data())),
}
CHARTER = 1
CHAINED = {1, 4, 7, 12, 14, 15, 16, 17, 19, 21, 22, 23, 24, 30}
LARGE = {1, 13, 31}


# --- Records: envelope --------------------------------------------------------------------------------------------------


def exactly(octets):
    """Decodes CBOR that is written in the one deterministic way (RFC 8949, section 4.2)."""
    try:
        value = cbor2.loads(octets)
        again = cbor2.dumps(value, canonical=True)
    except Exception as error:
        raise Refused(f"not CBOR: {error}") from error
    require(again == octets, "not deterministic CBOR")
    return value


def verify(octets):
    """A record's payload, its id and what is signed; or Refused."""
    require(len(octets) <= 16384, "too large for any record")
    envelope = exactly(octets)
    require(type(envelope) is list and len(envelope) == 4, "not a COSE_Sign1")
    protected, unprotected, payload, signature = envelope
    require(all(type(part) is bytes for part in (protected, payload, signature)), "not a COSE_Sign1")
    require(protected == cbor2.dumps({ALG: ED25519}) and unprotected == {}, "other headers")
    record = exactly(payload)
    require(type(record) is dict and set(range(10)) - {5} <= set(record) <= set(range(10)), "other keys")
    require(all(type(each) is int for each in record), "a key that is no number")
    require(number(1, 1)(record[0]), "another version")
    kind = record[1]
    require(type(kind) is int and kind in BODIES, "an unknown kind")
    require(kind in LARGE or len(octets) <= 4096, "too large for its kind")
    require(data(32)(record[2]) and data(32)(record[3]), "circle or author")
    require((record[2] == bytes(32)) == (kind == CHARTER), "a circle where none is, or none where one is")
    require((5 in record) == (kind in CHAINED and kind != CHARTER), "prev present or absent wrongly")
    require(5 not in record or data(32)(record[5]), "prev")
    require(all(number()(record[each]) for each in (4, 6, 7, 8)), "seq, lamport, created or expires")
    require(record[7] <= record[8], "it expires before it was made")
    require((record[4] == 0) if kind == CHARTER else (5 not in record or record[4] > 0), "seq")
    require(all(type(each) is int for each in record[9]) if type(record[9]) is dict else False, "body")
    require(BODIES[kind][1](record[9]), "body")
    require(not has_small_order(record[3]), "a key of small order")
    require(len(signature) == 64 and not has_small_order(signature[:32]), "a signature of small order")
    aad = DOMAIN + record[2] + bytes([kind])
    try:
        author = COSEKey.new({1: 1, 3: ED25519, -1: 6, -2: record[3]})
        COSE.new().decode(cbor2.CBORTag(18, envelope), author, external_aad=aad)
    except Exception as error:
        raise Refused("the signature does not fit") from error
    signed = cbor2.dumps(["Signature1", protected, aad, payload])
    return record, hashlib.sha256(b"undertone/1/id" + signed).digest()


# --- Keys and sealing ---------------------------------------------------------------------------------------------------


def extract(salt, secret):
    return hmac.digest(salt or bytes(32), secret, "sha256")


def expand(secret, info, size):
    out, block, count = b"", b"", 1
    while len(out) < size:
        block = hmac.digest(secret, block + info + bytes([count]), "sha256")
        out, count = out + block, count + 1
    return out[:size]


def derive(secret, salt, info):
    return expand(extract(salt, secret), info.encode(), 32)


def hchacha20(secret, nonce):
    """The key of XChaCha20 (draft-irtf-cfrg-xchacha-03, section 2.2)."""
    state = list(struct.unpack("<4I8I4I", b"expand 32-byte k" + secret + nonce))

    def quarter(a, b, c, d):
        for one, two, three, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[one] = (state[one] + state[two]) & U32
            mixed = state[three] ^ state[one]
            state[three] = (mixed << turn | mixed >> (32 - turn)) & U32

    for _ in range(10):
        for a in range(4):
            quarter(a, 4 + a, 8 + a, 12 + a)
        for a in range(4):
            quarter(a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def open_padded(secret, context, sealed):
    """A message of the control channel, or None."""
    if len(sealed) not in (640, 1280, 2560, 5120, 10240, 16384):
        return None
    nonce = sealed[:24]
    try:
        cipher = ChaCha20Poly1305(hchacha20(secret, nonce[:16]))
        padded = cipher.decrypt(bytes(4) + nonce[16:], sealed[24:], context)
    except Exception:
        return None
    size = int.from_bytes(padded[:4], "big")
    return padded[4 : 4 + size] if 4 + size <= len(padded) else None


KEM, SUITE = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"


def labelled_extract(suite, salt, label, secret):
    return extract(salt, b"HPKE-v1" + suite + label + secret)


def labelled_expand(suite, secret, label, info, size):
    return expand(secret, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, size)


def derive_key_pair(seed):
    """RFC 9180, section 7.1.3."""
    own = bytearray(labelled_expand(KEM, labelled_extract(KEM, b"", b"dkp_prk", seed), b"sk", b"", 32))
    own[0], own[31] = own[0] & 0xF8, own[31] & 0x7F | 0x40  # As X25519 does whenever it uses it (RFC 7748, section 5).
    return bytes(own)


def public_of(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def open_sealed(private, sender, info, sealed):
    """HPKE single-shot, Base mode without a sender, Auth mode with one; or None."""
    own = X25519PrivateKey.from_private_bytes(private)
    encapsulated, sealed = sealed[:32], sealed[32:]
    shared = own.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + public_of(private)
    if sender is not None:
        shared += own.exchange(X25519PublicKey.from_public_bytes(sender))
        context += sender
    extracted = labelled_extract(KEM, b"", b"eae_prk", shared)
    shared = labelled_expand(KEM, extracted, b"shared_secret", context, 32)
    schedule = bytes([0 if sender is None else 2])
    schedule += labelled_extract(SUITE, b"", b"psk_id_hash", b"") + labelled_extract(SUITE, b"", b"info_hash", info)
    secret = labelled_extract(SUITE, shared, b"secret", b"")
    cipher = ChaCha20Poly1305(labelled_expand(SUITE, secret, b"key", schedule, 32))
    try:
        return cipher.decrypt(labelled_expand(SUITE, secret, b"base_nonce", schedule, 12), sealed, b"")
    except Exception:
        return None


def signed(public, message, signature):
    """Whether a signature fits, strictly: neither key nor R of small order."""
    if has_small_order(public) or has_small_order(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except Exception:
        return False


def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


# --- Each file ----------------------------------------------------------------------------------------------------------


def raw(text):
    return None if text is None else bytes.fromhex(text)


def plain(value):
    """CBOR as the vectors show it."""
    if type(value) is bytes:
        return "hex:" + value.hex()
    if type(value) is dict:
        return {str(each): plain(inner) for each, inner in value.items()}
    return [plain(each) for each in value] if type(value) is list else value


def check_records(vector):
    envelope = raw(vector["envelope"])
    record, ident = verify(envelope)
    founds = hashlib.sha256(envelope).hexdigest() if record[1] == CHARTER else None
    return {
        "kind": BODIES[record[1]][0], "number": record[1], "circle": record[2].hex(), "author": record[3].hex(),
        "seq": record[4], "prev": record[5].hex() if 5 in record else None, "lamport": record[6], "created": record[7],
        "expires": record[8], "body": plain(record[9]), "id": ident.hex(), "founds": founds,
    }


def check_identities(vector):
    root, count = raw(vector["root"]), vector["generation"].to_bytes(4, "big")
    salt = raw(vector["nonce"]) + count
    own = derive(root, salt, "undertone/1/pseudonym")
    sealing = derive_key_pair(derive(root, salt, "undertone/1/sealing"))
    return {
        "signing_secret": own.hex(), "pseudonym": ed25519_public(own).hex(), "sealing_secret": sealing.hex(),
        "sealing_key": public_of(sealing).hex(), "voice_seed": derive(root, salt, "undertone/1/voice").hex(),
        "storage_key": derive(root, b"", "undertone/1/storage").hex(),
    }


handout = fields(key, many(fields(key, data())))
DOOR = {0: data(16), 1: data(), 2: many(data()), 3: fields(key, data()), 4: data()}


def check_channels(vector):
    secret, circle, what = raw(vector["secret"]), raw(vector["circle"]), vector["channel"]
    topic = derive(secret, circle, f"undertone/1/{what}/topic")
    own = derive(secret, circle, f"undertone/1/{what}/key")
    route = derive(secret, circle, "undertone/1/route").hex() if what == "epoch" else None
    message = open_padded(own, topic, raw(vector["payload"]))
    content = exactly(message)
    if what == "door":
        require(type(content) is list and len(content) == 2 and content[0] in DOOR, "not a door message")
        require(len(content[1]) == 1 and DOOR[content[0]](content[1][0]), "not a door message")
    else:
        require(fields(many(data(), 64), k1=handout)(content), "not a circle message")
        for envelope in content[0]:
            verify(envelope)
    return {"topic": topic.hex(), "key": own.hex(), "route": route, "message": message.hex()}


def check_seals(vector):
    sealed = raw(vector["sealed"])
    if "context" in vector:
        message = open_padded(raw(vector["key"]), raw(vector["context"]), sealed)
    else:
        message = open_sealed(raw(vector["private_key"]), raw(vector["sender"]), raw(vector["info"]), sealed)
    return {"message": None if message is None else message.hex()}


def voice_key_id(owner, own):
    commitment = hashlib.sha256(b"undertone/1/key-id" + owner + own[8:40] + own[40:]).digest()
    return (int.from_bytes(commitment[:8], "big") | 1 << 63).to_bytes(8, "big")


def open_packet(owner, own, packet):
    """Sequence number, flags and Opus of a voice packet (RFC 9605, AES_128_GCM_SHA256_128), or None."""
    ident, base, media = voice_key_id(owner, own), own[8:40], own[40:]
    if len(packet) != 174 or packet[0] != 0xFB or packet[1:9] != ident:
        return None
    counter = packet[9:13]
    if int.from_bytes(counter, "big") < 2**24:
        return None
    secret = extract(b"", base)
    cipher = AESGCM(expand(secret, b"SFrame 1.0 Secret key " + ident + b"\x00\x04", 16))
    salt = expand(secret, b"SFrame 1.0 Secret salt " + ident + b"\x00\x04", 12)
    nonce = bytes(a ^ b for a, b in zip(salt, counter.rjust(12, b"\x00")))
    try:
        content = cipher.decrypt(nonce, packet[13:], packet[:13])
    except Exception:
        return None
    sequence = counter.rjust(8, b"\x00")
    if not signed(media, b"undertone/1/frame" + ident + sequence + content[:81], content[81:]):
        return None
    return int.from_bytes(sequence, "big"), content[0], content[1:81]


def check_voices(vector):
    owner = raw(vector["from"])
    if "sealed" in vector:
        circle, via, member = (raw(vector[each]) for each in ("circle", "transport", "member"))
        info = b"undertone/1/voice-key" + circle + owner + via + member
        own = open_sealed(raw(vector["private_key"]), raw(vector["sender_sealing_key"]), info, raw(vector["sealed"]))
        return {"info": info.hex(), "voice_key": own.hex(), "key_id": voice_key_id(owner, own).hex()}
    packet = raw(vector["packet"])
    frame = open_packet(owner, raw(vector["voice_key"]), packet)
    named = packet[1:9].hex() if len(packet) == 174 else None
    if frame is None:
        return {"key_id": named, "sequence": None, "muted": None, "opus": None}
    return {"key_id": named, "sequence": frame[0], "muted": bool(frame[1] & 1), "opus": frame[2].hex()}


token = fields(data(16), key, number(), data(64))


def read_link(text):
    text = "".join(text.split())
    require(text.startswith("undertone:") and len(text) <= 2048, "no link")
    encoded = text.removeprefix("undertone:")
    require(re.fullmatch("[A-Za-z0-9_-]*", encoded), "not base64url")
    try:
        octets = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError as error:
        raise Refused("not base64url") from error
    content, checksum = octets[:-4], octets[-4:]
    require(hashlib.sha256(content).digest()[:4] == checksum, "damaged")
    link = exactly(content)
    require(fields(data(32), data(32), number(2), many(words(256), 8), k4=token, k5=number(16, 2), k6=number(1))(link), "not an invite")
    return link


def check_invites(vector):
    if "proof" in vector:
        circle, author = raw(vector["circle"]), raw(vector["author"])
        proof = exactly(raw(vector["proof"]))
        require(invite_proof(proof), "not a proof")
        return {"genuine": genuine_proof(circle, author, proof)}
    try:
        link = read_link(vector["link"])
    except Refused:
        return dict.fromkeys(("circle", "door", "route", "addresses", "members", "pace", "token", "until"))
    found = {"circle": link[0].hex(), "door": link[1].hex(), "route": link[2], "addresses": link[3], "members": link.get(5, 16), "pace": link.get(6, 0), "token": None, "until": None}
    if 4 in link:
        secret, sponsor, until, sponsored_by = (link[4][each] for each in range(4))
        public = ed25519_public(derive(secret + bytes(16), b"", "undertone/1/token"))
        message = b"undertone/1/token" + link[0] + public + until.to_bytes(8, "big")
        require(signed(sponsor, message, sponsored_by), "nobody answers for the token")
        found |= {"token": public.hex(), "until": until}
    return found


def check_puzzles(vector):
    circle, author, pledge = (raw(vector[each]) for each in ("circle", "author", "pledge"))
    salt = hashlib.sha256(b"undertone/1/puzzle" + circle + pledge).digest()
    argon = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=vector["memory_kib"])
    tag = argon.derive(vector["answer"].to_bytes(8, "big") + author)
    return {"fits": int.from_bytes(tag, "big") >> (256 - vector["zero_bits"]) == 0}


def check_neighbours(vector):
    secret, day = raw(vector["secret"]), raw(vector["circle"]) + vector["day"].to_bytes(8, "big")
    whose = day + raw(vector["transport"]) + vector["port"].to_bytes(2, "big")
    names = derive(secret, day, "undertone/1/nearby/circle"), derive(secret, whose, "undertone/1/nearby/member")
    circle, member = (base64.b32encode(name).decode().lower() for name in names)
    return {"circle_name": circle[:15], "member_name": member[:32]}


def check_texts(vector):
    pieces = ["undertone/1/texts", vector["version"], *vector["is_not"]]
    pieces += [text for clause in vector["clauses"] for text in clause]
    require([mark for mark, _ in vector["clauses"]] == MARKS, "other marks")
    each = (len(piece.encode()).to_bytes(8, "big") + piece.encode() for piece in pieces)
    return {"hash": hashlib.sha256(b"".join(each)).hexdigest()}


def genuine_proof(circle, author, proof):
    sponsored = b"undertone/1/token" + circle + proof[0] + proof[2].to_bytes(8, "big")
    return signed(proof[1], sponsored, proof[3]) and signed(proof[0], b"undertone/1/spend" + circle + author, proof[4])


def check_histories(vector):
    circle = hashlib.sha256(raw(vector["charter"])).digest()
    charter, founding = verify(raw(vector["charter"]))
    require(charter[1] == CHARTER and charter[3] == charter[9][3], "founds nothing")
    records = []
    for envelope in vector["records"]:
        record, ident = verify(raw(envelope))
        records.append(fold.said(record, ident))
        if record[1] == fold.EQUIVOCATION:
            records += [fold.said(*verify(record[9][each])) for each in (0, 1)]
        require(record[2] == circle, "of another circle")
    proves = lambda join: genuine_proof(circle, join.author, join.body[3])
    return fold.Circle(charter[9], founding, CHAINED, records, proves).fold()


def check_corpus(case):
    _, verdict, octets = case
    try:
        verify(base64.b64decode(octets))
        found = "accept"
    except Refused:
        found = "refuse"
    return found == ("accept" if verdict == "accept" else "refuse"), found


def main(arguments):
    folder = pathlib.Path(arguments[0]) if arguments else FOLDER
    counts, wrong = collections.Counter(), []
    for check in (
        check_records, check_identities, check_channels, check_seals, check_voices, check_invites, check_puzzles,
        check_neighbours, check_texts,
        check_histories,
    ):
        category = check.__name__.removeprefix("check_")
        for vector in json.loads((folder / f"{category}.json").read_text(encoding="utf-8")):
            counts[category] += 1
            try:
                found = check(vector)
                differs = [each for each, value in found.items() if vector[each] != value]
                wrong += [f"{category}: {vector['name']}: {each} is {found[each]}" for each in differs]
            except Exception as error:
                wrong.append(f"{category}: {vector['name']}: {type(error).__name__} {error}")
    for case in json.loads((folder / "corpus.json").read_text(encoding="utf-8")):
        agrees, found = check_corpus(case)
        counts["corpus, " + found] += 1
        wrong += [] if agrees else [f"corpus: {case[0]}: {found} here, {case[1]} there"]
    for line in wrong:
        print(line, file=sys.stderr)
    print("Python check of the vectors:", ", ".join(f"{count} {category}" for category, count in counts.items()) + ";", len(wrong), "disagreements.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
