//! Where others of a direct circle are, as far as one knows: by what is dialled when nobody is connected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use libp2p::PeerId;

use crate::net::RelayAddress;

/// Addresses that are remembered.
const MAX_KNOWN: usize = 64;

/// Who was found on this network, or connected, and where. In memory only.
#[derive(Default)]
pub(super) struct Known {
    /// The latest last.
    addresses: VecDeque<RelayAddress>,
    members: BTreeSet<PeerId>,
}

impl Known {
    /// Says who are members now.
    pub fn set_members(&mut self, members: &[PeerId]) {
        self.members = members.iter().copied().collect();
    }

    /// Somebody is there, or was.
    pub fn remember(&mut self, peer: PeerId, addr: SocketAddr) {
        let at = RelayAddress { peer, addr };
        self.addresses.retain(|known| *known != at);
        self.addresses.push_back(at);
        if self.addresses.len() > MAX_KNOWN {
            // Anybody can connect: strangers go first.
            let is_stranger = |known: &RelayAddress| !self.members.contains(&known.peer);
            let first = self.addresses.iter().position(is_stranger);
            self.addresses.remove(first.unwrap_or(0));
        }
    }

    /// Everybody's addresses, the latest first, those in the invite last.
    pub fn with_invited(&self, invited: &[String]) -> BTreeMap<PeerId, Vec<SocketAddr>> {
        let invited = invited.iter().flat_map(|address| address.parse());
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for RelayAddress { peer, addr } in self.addresses.iter().rev().cloned().chain(invited) {
            all.entry(peer).or_default().push(addr);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: usize) -> SocketAddr {
        ([192, 0, 2, last as u8], 4433).into()
    }

    #[test]
    fn the_latest_address_of_each_comes_first_and_the_invites_last() {
        let [one, two] = [(); 2].map(|()| PeerId::random());
        let mut known = Known::default();
        for (peer, last) in [(one, 1), (two, 2), (one, 3), (one, 1)] {
            known.remember(peer, addr(last));
        }
        let invited = |peer, last| {
            let addr = addr(last);
            RelayAddress { peer, addr }.to_string()
        };
        let third = PeerId::random();
        let invited = [invited(one, 9), "nonsense".into(), invited(third, 4)];
        let all = known.with_invited(&invited);
        assert_eq!(all.len(), 3);
        assert_eq!(all[&one], [1, 3, 9].map(addr));
        assert_eq!(all[&two], [addr(2)]);
        assert_eq!(all[&third], [addr(4)]);
    }

    #[test]
    fn strangers_push_no_member_out() {
        let member = PeerId::random();
        let mut known = Known::default();
        known.set_members(&[member]);
        known.remember(member, addr(1));
        for last in 0..3 * MAX_KNOWN {
            known.remember(PeerId::random(), addr(last));
        }
        let all = known.with_invited(&[]);
        assert_eq!(all.len(), MAX_KNOWN);
        assert_eq!(all[&member], [addr(1)]);
        // Members do, the oldest first.
        for last in 0..=MAX_KNOWN {
            known.remember(member, addr(last + 2));
        }
        let all = known.with_invited(&[]);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [member]);
        assert_eq!(all[&member].len(), MAX_KNOWN);
        assert!(!all[&member].contains(&addr(2)));
    }
}
