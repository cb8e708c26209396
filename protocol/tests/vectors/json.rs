//! Just enough JSON to write vectors down, one a line, and to compare them with what is written.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use minicbor::{Decoder, data::Type};

/// Set to anything, it writes the files anew instead of comparing.
pub const REWRITE: &str = "UNDERTONE_REWRITE_VECTORS";

pub enum Json {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}
impl From<bool> for Json {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}
impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Self::List(list)
    }
}
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(is) => write!(f, "{is}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => quote(f, text),
            Self::List(list) => {
                f.write_char('[')?;
                for (i, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Self::Object(entries) => {
                f.write_char('{')?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    quote(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quote(f: &mut std::fmt::Formatter<'_>, text: &str) -> std::fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(f, "\\u{unit:04x}")?;
                }
            }
        }
    }
    f.write_char('"')
}

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// One vector: its name and what belongs to it.
pub fn vector<const N: usize>(name: &str, entries: [(&str, Json); N]) -> Json {
    let named = [("name", Json::from(name))].into_iter().chain(entries);
    Json::Object(named.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// CBOR as it reads: byte strings as "hex:…", map keys as text.
pub fn plain(d: &mut Decoder<'_>) -> Json {
    match d.datatype().unwrap() {
        Type::Bool => d.bool().unwrap().into(),
        Type::Bytes => format!("hex:{}", hex(d.bytes().unwrap())).into(),
        Type::String => d.str().unwrap().into(),
        Type::Array => {
            let count = d.array().unwrap().unwrap();
            Json::List((0..count).map(|_| plain(d)).collect())
        }
        Type::Map => {
            let count = d.map().unwrap().unwrap();
            let entry = |_| (d.u8().unwrap().to_string(), plain(d));
            Json::Object((0..count).map(entry).collect())
        }
        _ => d.u64().unwrap().into(),
    }
}

fn path(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    folder.join(file)
}

/// Compares with the file, or writes it when asked to. Says which vector differs first.
pub fn compare(file: &str, vectors: &[Json]) {
    let lines: Vec<_> = vectors.iter().map(Json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = path(file);
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written == text {
        return;
    }
    let (old, new) = (written.lines(), text.lines());
    let differs = old.zip(new).find(|(old, new)| old != new);
    let (old, new) = differs.unwrap_or(("(fewer or more vectors)", ""));
    panic!(
        "{file} no longer says what the program does. If the wire format was changed on purpose, \
         set {REWRITE}=1, look at what changed, and say so in docs/protocol.md.\n\
         first difference:\n  file:    {old:.300}\n  program: {new:.300}"
    );
}
