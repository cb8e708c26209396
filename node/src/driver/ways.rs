//! The ways to a relayed circle: whose relays they lead through, what a charter promises of them, and what their
//! operators say.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use libp2p::identity::PublicKey as PeerKey;
use undertone_protocol::id::PublicKey;
use undertone_protocol::operator::OperatorCard;
use undertone_protocol::record::RouteKind;

use crate::NodeError;
use crate::api::Relay;
use crate::net::{RelayPath, Relayed};
use crate::store::CircleFile;

/// Most ways in an invite.
const MAX_WAYS: usize = 6;

/// See the module.
pub(super) struct Ways {
    pub relayed: Relayed,
    /// By one's own entry first.
    pub paths: Vec<RelayPath>,
    cards: BTreeMap<PeerId, OperatorCard>,
}

impl Ways {
    /// As the invite, or the founder, named them, for the member who has this key.
    ///
    /// # Errors
    /// If they lead nowhere, or are weaker than the circle's charter promises.
    pub fn of(file: &CircleFile, me: &PublicKey) -> Result<Self, NodeError> {
        let paths = file.addresses.iter().flat_map(|a| a.parse::<RelayPath>());
        let mut paths: Vec<_> = paths.take(MAX_WAYS).collect();
        if file.route == RouteKind::TwoHop && !are_two_hops(&paths) {
            return Err(NodeError::NotTwoHops);
        }
        let relayed = Relayed::by(&paths, file.most_members(), file.pace.unwrap_or_default());
        let mut relayed = relayed.ok_or(NodeError::BadInvite)?;
        // Each member has an entry that they come in by, the same one each time: every further one would learn of them too.
        let preferred = usize::from(me.as_bytes()[0]) % relayed.entries.len();
        relayed.entries.rotate_left(preferred);
        paths.sort_by_key(|path| relayed.entries.iter().position(|e| *e == path.entry));
        Ok(Self {
            relayed,
            paths,
            cards: BTreeMap::new(),
        })
    }

    /// A relay said who runs it. What it has not signed itself is forgotten.
    pub fn handle_card(&mut self, relay: PeerId, card: &[u8]) {
        let key = transport_key(&relay);
        match key.and_then(|key| OperatorCard::verify(card, &key).ok()) {
            Some(card) => self.cards.insert(relay, card),
            None => self.cards.remove(&relay),
        };
    }

    /// Those that one's packets go through: the entry one came in by, others that one has used, and every hub.
    pub fn relays(&self) -> Vec<Relay> {
        let of = |all: &[_], peer| {
            all.iter()
                .any(|r: &crate::net::RelayAddress| r.peer == peer)
        };
        let Relayed { hubs, entries, .. } = &self.relayed;
        let used = (entries.iter().enumerate())
            .filter(|(i, entry)| *i == 0 || self.cards.contains_key(&entry.peer))
            .map(|(_, entry)| entry);
        let mut seen = BTreeSet::new();
        used.chain(hubs)
            .filter(|relay| seen.insert(relay.peer))
            .map(|relay| Relay {
                is_entry: of(entries, relay.peer),
                is_hub: of(hubs, relay.peer),
                card: self.cards.get(&relay.peer).cloned(),
            })
            .collect()
    }
}

/// The ways in a text, with white space between.
///
/// # Errors
/// [`NodeError::BadRelay`] if one of them is none, or there are too many, or none.
pub(super) fn paths(ways: &str) -> Result<Vec<RelayPath>, NodeError> {
    let paths = ways.split_whitespace().map(str::parse::<RelayPath>);
    let paths: Vec<_> = paths
        .collect::<Result<_, _>>()
        .map_err(|_| NodeError::BadRelay)?;
    match paths.is_empty() || paths.len() > MAX_WAYS {
        true => Err(NodeError::BadRelay),
        false => Ok(paths),
    }
}

/// The ways that a founder gives, with white space between, and what they are: two hops, if no relay is both
/// an entry and a hub.
///
/// # Errors
/// [`NodeError::BadRelay`] if one of them is none, or there are too many.
pub(super) fn drafted(ways: &str) -> Result<(RouteKind, Vec<String>), NodeError> {
    let paths = paths(ways)?;
    let kind = match are_two_hops(&paths) {
        true => RouteKind::TwoHop,
        false => RouteKind::Relay,
    };
    Ok((kind, paths.iter().map(RelayPath::to_string).collect()))
}

/// Every entry leads to every hub, so none may be both.
fn are_two_hops(paths: &[RelayPath]) -> bool {
    let hubs: BTreeSet<PeerId> = paths.iter().map(|path| path.hub.peer).collect();
    paths.iter().all(|path| !hubs.contains(&path.entry.peer))
}

/// The key that a peer's libp2p name was made from.
fn transport_key(peer: &PeerId) -> Option<PublicKey> {
    let name = PeerKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    let key = name.try_into_ed25519().ok()?;
    Some(PublicKey::from_bytes(key.to_bytes()))
}

#[cfg(test)]
mod tests {
    use undertone_protocol::id::{CircleId, Nonce};

    use super::*;
    use crate::net::RelayAddress;

    fn relay(last: u8) -> RelayAddress {
        RelayAddress {
            peer: PeerId::random(),
            addr: ([192, 0, 2, last], 4433).into(),
        }
    }

    fn way(entry: &RelayAddress, hub: &RelayAddress) -> String {
        RelayPath::from((entry, hub)).to_string()
    }

    fn file(route: RouteKind, addresses: &[String]) -> CircleFile {
        CircleFile {
            circle: CircleId::from_bytes([1; 32]),
            salt: Nonce::from_bytes([1; 16]),
            door: [1; 32],
            group_key: None,
            route,
            addresses: addresses.to_vec(),
            title: String::new(),
            seq_ceiling: 0,
            recovery_key: None,
            token: None,
            members: Some(8),
            pace: None,
            announced: None,
        }
    }

    #[test]
    fn two_hops_are_those_where_no_relay_is_both() {
        let [a, b, c, d] = [1, 2, 3, 4].map(relay);
        let kind =
            |ways: &[String]| drafted(&ways.join(" \n ")).map(|(kind, ways)| (kind, ways.len()));
        assert_eq!(kind(&[way(&a, &a)]).unwrap(), (RouteKind::Relay, 1));
        assert_eq!(kind(&[way(&a, &b)]).unwrap(), (RouteKind::TwoHop, 1));
        let four = [way(&a, &c), way(&b, &d)];
        assert_eq!(kind(&four).unwrap(), (RouteKind::TwoHop, 2));
        let crossed = [way(&a, &b), way(&b, &a)];
        assert_eq!(kind(&crossed).unwrap(), (RouteKind::Relay, 2));
        for wrong in [
            "",
            "  ",
            "nonsense",
            &format!("{} x", way(&a, &b)),
            &a.to_string(),
        ] {
            assert!(
                matches!(drafted(wrong), Err(NodeError::BadRelay)),
                "{wrong}"
            );
        }
        assert!(kind(&vec![way(&a, &b); MAX_WAYS + 1]).is_err());
    }

    #[test]
    fn an_invite_that_is_weaker_than_the_charter_is_refused() {
        let [a, b] = [1, 2].map(relay);
        let me = PublicKey::from_bytes([0; 32]);
        let of =
            |kind, ways: &[String]| Ways::of(&file(kind, ways), &me).map(|w| w.relayed.hubs.len());
        assert_eq!(of(RouteKind::TwoHop, &[way(&a, &b)]).unwrap(), 1);
        for weak in [
            vec![way(&a, &a)],
            vec![way(&a, &b), way(&b, &a)],
            vec![way(&a, &b), way(&b, &b)],
        ] {
            let refused = of(RouteKind::TwoHop, &weak);
            assert!(matches!(refused, Err(NodeError::NotTwoHops)));
            assert!(of(RouteKind::Relay, &weak).is_ok());
        }
        for nowhere in [vec![], vec!["nonsense".to_owned()], vec![a.to_string()]] {
            assert!(of(RouteKind::Relay, &nowhere).is_err());
        }
    }

    #[test]
    fn members_are_spread_over_entries_and_each_keeps_theirs() {
        let [a, b, c] = [1, 2, 3].map(relay);
        let ways = file(RouteKind::TwoHop, &[way(&a, &c), way(&b, &c)]);
        let entry = |key: u8| {
            let me = PublicKey::from_bytes([key; 32]);
            let ways = Ways::of(&ways, &me).unwrap();
            assert_eq!(ways.paths[0].entry, ways.relayed.entries[0]);
            ways.relayed.entries[0].clone()
        };
        assert_eq!([0, 1, 2, 3].map(entry), [a.clone(), b.clone(), a, b]);
    }

    #[test]
    fn only_what_a_relay_has_signed_itself_is_shown() {
        let keypair = libp2p::identity::Keypair::generate_ed25519();
        let card = crate::relay::Operator {
            name: Some("Lantern".into()),
            ..Default::default()
        };
        let card = card.card(&keypair).unwrap();
        let hub = RelayAddress {
            peer: keypair.public().to_peer_id(),
            ..relay(1)
        };
        let [entry, spare] = [2, 3].map(relay);
        let file = file(RouteKind::TwoHop, &[way(&entry, &hub), way(&spare, &hub)]);
        let mut ways = Ways::of(&file, &PublicKey::from_bytes([0; 32])).unwrap();
        ways.handle_card(entry.peer, &card);
        ways.handle_card(hub.peer, &card);
        let shown = ways.relays().into_iter().map(|relay| {
            let name = relay.card.and_then(|card| card.name);
            (relay.is_entry, relay.is_hub, name)
        });
        let expected = [(true, false, None), (false, true, Some("Lantern".into()))];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}
