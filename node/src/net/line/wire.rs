//! What is said on a line's one stream before cells begin: where it is to lead, and whether it does.
//!
//! Each side says one thing: a length (16, big-endian), and as many bytes of CBOR.

use minicbor::{Decode, Encode};
use quinn::{RecvStream, SendStream};
use undertone_protocol::{operator::MAX_CARD_BYTES, record::Pace};

use crate::net::MAX_HUBS;

/// What a line speaks: the protocol of the TLS handshake (ALPN).
pub(crate) const PROTOCOL: &[u8] = b"undertone/line/1";
/// Most cells that an entry sends a tick: a full circle's, on a thin line, and on others.
pub(super) const MAX_CELLS: u8 = 10;
const MAX_USUAL_CELLS: u8 = 7;
const MAX_BYTES: usize = MAX_CARD_BYTES + 64;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Open {
    /// Cells that the entry is to send each tick, 1–10: enough for a whole circle's voices, whether they talk or not.
    #[n(0)]
    pub(crate) cells: u8,
    /// UDP addresses of hubs, none of them twice; the first is reached on channel 0, and so on.
    #[n(1)]
    pub(crate) hubs: Vec<String>,
    /// How long a tick is; as usual when absent.
    #[n(2)]
    pub(crate) pace: Option<Pace>,
}

impl Open {
    /// Whether an entry can do that at all.
    pub(crate) fn is_sound(&self) -> bool {
        let most = match self.pace.unwrap_or_default() {
            Pace::Usual => MAX_USUAL_CELLS,
            Pace::Thin => MAX_CELLS,
        };
        let mut hubs = self.hubs.iter().enumerate();
        (1..=most).contains(&self.cells)
            && (1..=MAX_HUBS).contains(&self.hubs.len())
            && hubs.all(|(n, hub)| !self.hubs.iter().take(n).any(|earlier| earlier == hub))
    }
}

/// What the entry answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Answer {
    #[n(0)]
    pub(crate) opened: Opened,
    /// What its operator says (`undertone_protocol::operator`).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) card: Vec<u8>,
}

/// Whether a line was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Opened {
    /// Cells may come.
    #[n(0)]
    Yes,
    /// It leads to none of these hubs.
    #[n(1)]
    NotThere,
    /// It carries as many lines as it may.
    #[n(2)]
    Full,
}

/// Why nothing was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line's stream ended, or did not make sense")]
pub(crate) struct Unsaid;

/// Says one thing.
pub(crate) async fn say(stream: &mut SendStream, what: &impl Encode<()>) -> Result<(), Unsaid> {
    let said = minicbor::to_vec(what).map_err(|_| Unsaid)?;
    let length = u16::try_from(said.len()).map_err(|_| Unsaid)?;
    let bytes = [&length.to_be_bytes()[..], &said].concat();
    stream.write_all(&bytes).await.map_err(|_| Unsaid)
}

/// Hears one thing.
pub(crate) async fn hear<T: for<'b> Decode<'b, ()>>(stream: &mut RecvStream) -> Result<T, Unsaid> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(|_| Unsaid)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_BYTES {
        return Err(Unsaid);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|_| Unsaid)?;
    minicbor::decode(&bytes).map_err(|_| Unsaid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leads_to_as_many_hubs_as_a_circle_has_and_to_none_twice() {
        let is_sound = |hubs: &[&str]| {
            let hubs = hubs.iter().map(|hub| (*hub).to_owned()).collect();
            let (cells, pace) = (1, None);
            Open { cells, hubs, pace }.is_sound()
        };
        assert!(is_sound(&["a"]) && is_sound(&["a", "b", "c"]));
        assert!(!is_sound(&[]) && !is_sound(&["a", "b", "c", "d"]));
        assert!(!is_sound(&["a", "b", "a"]));
    }
}
