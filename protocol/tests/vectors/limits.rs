//! Sizes and numbers at their limits and one beyond, and names that are not what they seem.

use ed25519_dalek::SigningKey;
use undertone_protocol::record::{Kind, MAX_INTEGER};

use crate::cbor::{Cbor, bytes, text};
use crate::{Corpus, Must, Sample};

use Must::{Fail, Pass};

pub fn add(corpus: &mut Corpus, samples: &[Sample]) {
    let of = |name: &str| samples.iter().find(|s| s.name == name).unwrap();
    let mut limits = Limits { corpus, of: &of };
    limits.names();
    limits.numbers();
    limits.sizes();
    limits.lists();
    limits.keys();
}

struct Limits<'a, 'b> {
    corpus: &'a mut Corpus,
    of: &'a dyn Fn(&str) -> &'b Sample,
}

impl Limits<'_, '_> {
    fn set(&mut self, sample: &str, key: u64, what: &str, value: Cbor, must: Must) {
        self.change(sample, &format!("{key} of {what}"), must, |body| {
            *body.field(key) = value;
        });
    }
    fn change(&mut self, sample: &str, what: &str, must: Must, change: impl FnOnce(&mut Cbor)) {
        let bytes = (self.of)(sample).with_body(change);
        self.corpus.add(format!("{sample}: {what}"), bytes, must);
    }

    fn names(&mut self) {
        let long = "x".repeat(120);
        let longer = "x".repeat(121);
        let wide = "é".repeat(60);
        let wider = "é".repeat(61);
        let names = [
            ("a letter", "x", true),
            ("120 bytes", &long, true),
            ("120 bytes in 60 letters", &wide, true),
            ("a name in another script", "静かな鷺", true),
            ("an emoji", "Heron \u{1f54a}\u{fe0f}", true),
            ("inner spaces", "Quiet  Heron", true),
            ("nothing", "", false),
            ("121 bytes", &longer, false),
            ("122 bytes in 61 letters", &wider, false),
            ("spaces", "   ", false),
            ("a wide space", "\u{3000}", false),
            ("an unbreakable space", "\u{a0}", false),
            ("a line feed", "two\nlines", false),
            ("a tab", "Quiet\tHeron", false),
            ("a zero byte", "Quiet\0Heron", false),
            ("a delete", "Quiet\u{7f}", false),
            ("a next line", "Quiet\u{85}Heron", false),
            ("a soft hyphen", "Qui\u{ad}et", false),
            ("a joiner of graphemes", "Quiet\u{34f}", false),
            ("an Arabic letter mark", "Quiet\u{61c}", false),
            ("a Hangul filler", "Quiet\u{115f}", false),
            ("another Hangul filler", "\u{3164}", false),
            ("a Mongolian separator", "Quiet\u{180e}", false),
            ("a space of no width", "Quiet\u{200b}Heron", false),
            ("a joiner of no width", "Quiet\u{200d}Heron", false),
            ("a mark to the left", "Quiet\u{200f}", false),
            ("a line separator", "Quiet\u{2028}Heron", false),
            ("a paragraph separator", "Quiet\u{2029}Heron", false),
            ("an override", "Quiet\u{202e}noreH", false),
            ("a word joiner", "Quiet\u{2060}", false),
            ("an isolate", "Quiet\u{2066}Heron", false),
            ("a byte order mark", "\u{feff}Quiet", false),
            ("an annotation", "Quiet\u{fff9}", false),
            ("a tag", "Quiet\u{e0041}", false),
        ];
        let fields = [
            ("charter", 0, "BadField topic"),
            ("charter", 1, "BadField title"),
            ("charter", 2, "BadField language"),
            ("charter of an open door", 15, "BadField schedule"),
            ("join", 0, "BadField name"),
        ];
        for (what, name, fine) in names {
            // Every one as a name; the others get a few of each sort.
            for (sample, key, reason) in fields {
                let must = if fine { Pass } else { Fail(reason) };
                if sample == "join" || what.len() % 4 == 0 {
                    self.set(sample, key, what, text(name), must);
                }
            }
        }
        for (what, broken) in [
            ("half a letter", vec![0xc3]),
            ("a surrogate", vec![0xed, 0xa0, 0x80]),
            ("two bytes for one", vec![0xc1, 0x81]),
            ("beyond Unicode", vec![0xf4, 0x90, 0x80, 0x80]),
        ] {
            self.set("join", 0, what, Cbor::Text(broken), Fail("BadPayload"));
        }
    }

    fn numbers(&mut self) {
        let until = "BadField until";
        let seconds = "BadField seconds";
        let bad = "BadPayload";
        let open = "charter of an open door";
        for (sample, key, least, most, reason) in [
            ("charter", 8, 2, 16, "BadField max_members"),
            ("charter", 9, 1, 3_600, "BadField turn_seconds"),
            ("turn grant", 1, 1, 3_600, seconds),
            ("turn extend", 1, 1, 3_600, seconds),
            (
                "join with a puzzle's answer",
                4,
                0,
                MAX_INTEGER,
                "BadField puzzle",
            ),
            (
                "removal of a co-leader for a time",
                2,
                0,
                MAX_INTEGER,
                until,
            ),
            ("mute", 1, 0, MAX_INTEGER, until),
            ("turn request", 0, 0, MAX_INTEGER, "BadField since"),
            ("hello", 5, 0, MAX_INTEGER, "BadField hello"),
            ("announcement", 1, 0, MAX_INTEGER, "BadField next_meeting"),
            ("announcement", 2, 0, 16, "BadField seats"),
            ("epoch", 0, 0, u32::MAX.into(), bad),
            (open, 6, 2, 2, bad),
            (open, 16, 0, 1, bad),
            ("charter", 10, 0, 1, bad),
            ("charter", 12, 0, 2, bad),
            ("admission", 1, 0, 4, bad),
            ("delegation", 1, 1, 3, "BadField role"),
            ("mode", 0, 0, 1, bad),
            ("thanks", 1, 0, 3, bad),
        ] {
            let mut set =
                |n: u64, must| self.set(sample, key, &n.to_string(), Cbor::Number(n), must);
            set(most, Pass);
            if least != most {
                set(least, Pass);
            }
            set(most + 1, Fail(reason));
            if least > 0 {
                let below = match (sample, key) {
                    (s, 6) if s == open => "BadField puzzle",
                    _ => reason,
                };
                set(least - 1, Fail(below));
            }
            set(
                u64::MAX,
                Fail(match reason {
                    "BadField since"
                    | "BadField until"
                    | "BadField next_meeting"
                    | "BadField puzzle"
                    | "BadField hello" => reason,
                    _ => bad,
                }),
            );
        }
        self.set(
            "delegation",
            1,
            "4, newcomer",
            Cbor::Number(4),
            Fail("BadField role"),
        );
        let no_puzzle = Fail("BadField puzzle");
        self.set("charter", 6, "2, an open door", Cbor::Number(2), no_puzzle);
        for (what, memory, bits, fine) in [
            ("least of both", 8, 0, true),
            ("most of both", 1 << 18, 20, true),
            ("too little memory", 7, 7, false),
            ("too much memory", (1 << 18) + 1, 7, false),
            ("too many bits", 8, 21, false),
        ] {
            let cost = [(0, memory), (1, bits)].map(|(k, v)| (Cbor::Number(k), Cbor::Number(v)));
            let must = if fine { Pass } else { Fail("BadField puzzle") };
            self.set(open, 14, what, Cbor::Map(cost.into()), must);
        }
        self.change(
            "charter",
            "with a puzzle at another door",
            Fail("BadField puzzle"),
            |c| {
                let cost = [(0, 8), (1, 0)].map(|(k, v)| (Cbor::Number(k), Cbor::Number(v)));
                c.fields().push((Cbor::Number(14), Cbor::Map(cost.into())));
            },
        );
        for (what, number, must) in [
            ("the largest number", MAX_INTEGER, Pass),
            ("a number too large", MAX_INTEGER + 1, Fail("BadField cut")),
        ] {
            let name = format!("a cut at {what}");
            for (sample, key) in [
                ("removal of a co-leader for a time", 3),
                ("revocation", 1),
                ("succession", 2),
            ] {
                self.change(sample, &name, must, |b| {
                    *b.field(key).field(0) = Cbor::Number(number);
                });
            }
            let invite = match must {
                Pass => Pass,
                _ => Fail("BadField invite"),
            };
            self.change("join with a token", &format!("until {what}"), invite, |b| {
                *b.field(3).field(2) = Cbor::Number(number);
            });
            let hello = match must {
                Pass => Pass,
                _ => Fail("BadField hello"),
            };
            self.change("hello", &format!("a head at {what}"), hello, |b| {
                let Cbor::List(heads) = b.field(2) else {
                    panic!("heads are a list");
                };
                *heads[0].field(1) = Cbor::Number(number);
            });
        }
        for (what, mark, fine) in [
            ("a", "a", true),
            ("d", "d", true),
            ("1", "1", true),
            ("8", "8", true),
            ("9", "9", false),
            ("e", "e", false),
            ("nothing", "", false),
            ("adult", "adult", false),
            ("A", "A", false),
            ("01", "01", false),
        ] {
            let must = if fine { Pass } else { Fail("BadField clause") };
            self.set(
                "removal for good",
                1,
                &format!("clause {what}"),
                text(mark),
                must,
            );
        }
    }

    /// Whole records of exactly so many bytes.
    fn sizes(&mut self) {
        let mut sized = |sample: &str, size: usize, must: Must| {
            let of = (self.of)(sample);
            let whole = |filler: usize| match of.kind {
                Kind::Equivocation => of.with_body(|b| {
                    *b.field(0) = bytes(filler);
                    *b.field(1) = bytes(9);
                }),
                _ => of.with_body(|b| *b.field(0).field(1) = bytes(filler)),
            };
            // A body's length takes part in the length of its lengths: try until it fits.
            let filler = (0..size).rev().find(|filler| whole(*filler).len() == size);
            let bytes = whole(filler.unwrap());
            let name = format!("{sample}: {size} bytes in all");
            self.corpus.add(name, bytes, must);
        };
        sized("equivocation", 4_097, Pass);
        sized("equivocation", 16 * 1024, Pass);
        sized("equivocation", 16 * 1024 + 1, Fail("TooLarge"));
        sized("crisis referral", 4_096, Fail("BadField sealed"));
        sized("crisis referral", 4_097, Fail("TooLarge"));
        for (sample, key) in [
            ("crisis referral", 0),
            ("contact request", 0),
            ("contact answer", 1),
        ] {
            for (size, must) in [(0, Pass), (2_048, Pass), (2_049, Fail("BadField sealed"))] {
                self.change(sample, &format!("{size} sealed bytes"), must, |b| {
                    *b.field(key).field(1) = bytes(size);
                });
            }
        }
        self.corpus
            .add("nothing at all", Vec::new(), Fail("NotCose"));
        self.corpus.add("one byte", vec![0x84], Fail("NotCose"));
        self.corpus
            .add("16 KiB of zeros", vec![0; 16 * 1024], Fail("NotCose"));
        self.corpus.add(
            "more than 16 KiB of zeros",
            vec![0; 16 * 1024 + 1],
            Fail("TooLarge"),
        );
        self.corpus
            .add("brackets", vec![0x81; 2_000], Fail("NotCose"));
        // A length that nobody has the memory for.
        let huge = [vec![0x84, 0x5b], vec![0x7f; 8], vec![0; 40]].concat();
        self.corpus.add("a huge length", huge, Fail("NotCose"));
    }

    fn lists(&mut self) {
        let marks = |marks: &[&str]| Cbor::List(marks.iter().map(|m| text(m)).collect());
        let all: Vec<_> = undertone_protocol::texts::all_clauses()
            .map(|c| c.mark)
            .collect();
        let mut swapped = all.clone();
        swapped.swap(3, 4);
        let accepted = Fail("BadField accepted");
        for (what, list) in [
            ("nothing", marks(&[])),
            ("one less", marks(&all[..all.len() - 1])),
            ("one twice", marks(&[all.as_slice(), &["8"]].concat())),
            ("another order", marks(&swapped)),
        ] {
            self.set("pledge", 1, what, list, accepted);
        }
        let heads = |count: usize| {
            let head = |_| {
                Cbor::Map(vec![
                    (Cbor::Number(0), bytes(32)),
                    (Cbor::Number(1), Cbor::Number(1)),
                ])
            };
            Cbor::List((0..count).map(head).collect())
        };
        let numbers = |count: usize| Cbor::List(vec![Cbor::Number(1 << 63 | 5); count]);
        let address = |size: usize| Cbor::List(vec![text(&"a".repeat(size))]);
        let addresses = |count: usize| Cbor::List(vec![text("a"); count]);
        let hello = Fail("BadField hello");
        for (key, what, list, must) in [
            (2, "24 heads", heads(24), Pass),
            (2, "25 heads", heads(25), hello),
            (3, "32 voice keys", numbers(32), Pass),
            (3, "33 voice keys", numbers(33), hello),
            (4, "8 addresses", addresses(8), Pass),
            (4, "9 addresses", addresses(9), hello),
            (4, "an address of 64 bytes", address(64), Pass),
            (4, "an address of 65 bytes", address(65), hello),
        ] {
            self.set("hello", key, what, list, must);
        }
        let sealed = |member: u8, size: usize| {
            Cbor::Map(vec![
                (Cbor::Number(0), Cbor::Bytes(vec![member; 32])),
                (Cbor::Number(1), bytes(size)),
            ])
        };
        let many = |count: u8| Cbor::List((0..count).map(|m| sealed(m, 80)).collect());
        let wrong = Fail("BadField sealed");
        for (what, list, must) in [
            ("nobody", many(0), Pass),
            ("16 members", many(16), Pass),
            ("17 members", many(17), wrong),
            (
                "a member twice",
                Cbor::List(vec![sealed(1, 80), sealed(1, 81)]),
                wrong,
            ),
            (
                "a secret of 128 bytes",
                Cbor::List(vec![sealed(1, 128)]),
                Pass,
            ),
            (
                "a secret of 129 bytes",
                Cbor::List(vec![sealed(1, 129)]),
                wrong,
            ),
        ] {
            self.set("epoch", 1, what, list, must);
        }
    }

    /// Sealing keys to which nothing can be sealed.
    fn keys(&mut self) {
        const EIGHTH: &str = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        const OTHER: &str = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
        let parsed = |hex: &str| -> Vec<u8> {
            let digits = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
            (0..32).map(digits).collect()
        };
        let high = |low: u8| [&[low], [0xff; 30].as_slice(), &[0x7f]].concat();
        let low = |low: u8| [&[low], [0; 31].as_slice()].concat();
        let no = Fail("BadField sealing_key");
        for (what, key, must) in [
            ("0", low(0), no),
            ("1", low(1), no),
            ("an eighth", parsed(EIGHTH), no),
            ("another eighth", parsed(OTHER), no),
            ("-1", high(0xec), no),
            ("the prime", high(0xed), no),
            ("the prime and 1", high(0xee), no),
            ("9", low(9), Pass),
        ] {
            self.set(
                "join",
                1,
                &format!("height {what}"),
                Cbor::Bytes(key.clone()),
                must,
            );
            let mut signed = key;
            signed[31] |= 0x80;
            self.set(
                "join",
                1,
                &format!("height {what}, top bit"),
                Cbor::Bytes(signed),
                must,
            );
        }
        let key = SigningKey::from_bytes(&[1; 32]);
        let foreign = Sample {
            key,
            payload: (self.of)("pledge").payload.clone(),
            envelope: Vec::new(),
            ..*(self.of)("pledge")
        };
        let payload = foreign.payload.write();
        let bytes = foreign.signed(&payload);
        self.corpus.add(
            "pledge: of another installation",
            bytes,
            Fail("BadSignature"),
        );
    }
}
