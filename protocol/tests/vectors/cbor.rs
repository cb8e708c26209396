//! CBOR as a tree that can be spoilt in every way that a decoder might overlook.

#[derive(Clone)]
pub enum Cbor {
    Number(u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    List(Vec<Cbor>),
    Map(Vec<(Cbor, Cbor)>),
    /// Written as it is.
    Raw(Vec<u8>),
}

pub const NULL: u8 = 0xf6;
pub const TRUE: u8 = 0xf5;

pub fn text(text: &str) -> Cbor {
    Cbor::Text(text.into())
}
pub fn bytes(size: usize) -> Cbor {
    Cbor::Bytes(vec![7; size])
}

pub fn head(major: u8, number: u64) -> Vec<u8> {
    let major = major << 5;
    match number {
        0..=23 => vec![major | number as u8],
        24..=0xff => vec![major | 24, number as u8],
        0x100..=0xffff => [&[major | 25], (number as u16).to_be_bytes().as_slice()].concat(),
        0x1_0000..=0xffff_ffff => {
            [&[major | 26], (number as u32).to_be_bytes().as_slice()].concat()
        }
        _ => [&[major | 27], number.to_be_bytes().as_slice()].concat(),
    }
}

impl Cbor {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let value = Self::take(&mut rest);
        assert!(rest.is_empty());
        value
    }

    fn take(rest: &mut &[u8]) -> Self {
        let first = rest[0];
        if first == TRUE || first == TRUE - 1 {
            *rest = &rest[1..];
            return Self::Raw(vec![first]);
        }
        let more = match first & 31 {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        };
        let number = match more {
            0 => u64::from(first & 31),
            _ => rest[1..=more].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        };
        *rest = &rest[1 + more..];
        let count = number as usize;
        match first >> 5 {
            0 => Self::Number(number),
            2 | 3 => {
                let (content, after) = rest.split_at(count);
                *rest = after;
                match first >> 5 {
                    2 => Self::Bytes(content.into()),
                    _ => Self::Text(content.into()),
                }
            }
            4 => Self::List((0..count).map(|_| Self::take(rest)).collect()),
            5 => Self::Map(
                (0..count)
                    .map(|_| (Self::take(rest), Self::take(rest)))
                    .collect(),
            ),
            major => panic!("records have nothing of major type {major}"),
        }
    }

    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Number(n) => head(0, *n),
            Self::Bytes(content) => [head(2, content.len() as u64), content.clone()].concat(),
            Self::Text(content) => [head(3, content.len() as u64), content.clone()].concat(),
            Self::List(items) => [head(4, items.len() as u64), Self::all(items)].concat(),
            Self::Map(entries) => [head(5, entries.len() as u64), Self::entries(entries)].concat(),
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    fn all(items: &[Self]) -> Vec<u8> {
        items.iter().flat_map(Self::write).collect()
    }
    fn entries(entries: &[(Self, Self)]) -> Vec<u8> {
        let both = |(key, value): &(Self, Self)| [key.write(), value.write()].concat();
        entries.iter().flat_map(both).collect()
    }

    /// The same value with a longer head than it needs.
    pub fn longer(&self) -> Self {
        let written = self.write();
        let first = written[0];
        let (more, rest) = match first & 31 {
            n @ 0..=23 => (vec![(first & 0xe0) | 24, n], &written[1..]),
            24 => (vec![first + 1, 0], &written[1..]),
            25 => (vec![first + 1, 0, 0], &written[1..]),
            _ => (vec![first + 1, 0, 0, 0, 0], &written[1..]),
        };
        Self::Raw([more.as_slice(), rest].concat())
    }

    /// The same list, map or string with an end instead of a length.
    pub fn endless(&self) -> Self {
        let (major, content) = match self {
            Self::Bytes(_) => (2, self.write()),
            Self::Text(_) => (3, self.write()),
            Self::List(items) => (4, Self::all(items)),
            Self::Map(entries) => (5, Self::entries(entries)),
            other => return other.longer(),
        };
        Self::Raw([&[major << 5 | 31], content.as_slice(), &[0xff]].concat())
    }

    /// A value of another type.
    pub fn mistyped(&self) -> Self {
        match self {
            Self::Number(_) => text("7"),
            Self::Bytes(content) => Self::Text(vec![b'x'; content.len()]),
            Self::Text(content) => Self::Bytes(content.clone()),
            Self::List(_) | Self::Map(_) => Self::Number(0),
            Self::Raw(_) => Self::Number(1),
        }
    }

    pub fn tagged(&self) -> Self {
        Self::Raw([head(6, 24), self.write()].concat())
    }

    pub fn fields(&mut self) -> &mut Vec<(Cbor, Cbor)> {
        match self {
            Self::Map(entries) => entries,
            _ => panic!("not a map"),
        }
    }

    /// The value under a key.
    pub fn field(&mut self, wanted: u64) -> &mut Cbor {
        let is = |key: &Cbor| matches!(key, Cbor::Number(n) if *n == wanted);
        let found = self.fields().iter_mut().find(|(key, _)| is(key));
        &mut found.unwrap_or_else(|| panic!("no key {wanted}")).1
    }

    pub fn has(&mut self, wanted: u64) -> bool {
        let is = |key: &Cbor| matches!(key, Cbor::Number(n) if *n == wanted);
        self.fields().iter().any(|(key, _)| is(key))
    }

    pub fn remove(&mut self, wanted: u64) {
        let is = |key: &Cbor| matches!(key, Cbor::Number(n) if *n == wanted);
        self.fields().retain(|(key, _)| !is(key));
    }
}
