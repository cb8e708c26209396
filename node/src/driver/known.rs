//! Where others of a direct circle are, as far as one knows: by what is dialled when nobody is connected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use libp2p::PeerId;

use crate::net::RelayAddress;

/// Addresses that are remembered, and of one of them.
const MAX_KNOWN: usize = 64;
const MAX_EACH: usize = 8;

/// Who is connected, who proved on this network to hold the invite, and where members were. In memory only. Anybody can
/// connect: whoever is no member is neither remembered for that nor taken for company.
#[derive(Default)]
pub(super) struct Known {
    /// The latest last.
    addresses: VecDeque<RelayAddress>,
    members: BTreeSet<PeerId>,
    /// Whether one ever knew of a member.
    has_met: bool,
    connected: BTreeMap<PeerId, SocketAddr>,
}

impl Known {
    /// Says who are members now.
    pub fn set_members(&mut self, members: &[PeerId]) {
        self.members = members.iter().copied().collect();
        self.has_met |= !members.is_empty();
        for (peer, addr) in self.connected.clone() {
            self.remember_member(peer, addr);
        }
    }

    /// Somebody is connected; everybody has one port, to dial from and to be dialled at.
    pub fn connected(&mut self, peer: PeerId, addr: SocketAddr) {
        self.connected.insert(peer, addr);
        self.remember_member(peer, addr);
    }

    /// Somebody is not any more.
    pub fn disconnected(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
    }

    /// Whether somebody is connected; once one has met members, whether it is a member of whom one heard lately.
    pub fn has_company(&self) -> bool {
        let mut connected = self.connected.keys();
        connected.any(|peer| !self.has_met || self.members.contains(peer))
    }

    fn remember_member(&mut self, peer: PeerId, addr: SocketAddr) {
        if self.members.contains(&peer) {
            self.remember(peer, addr);
        }
    }

    /// Somebody who holds the invite, or a member, is there, or was.
    pub fn remember(&mut self, peer: PeerId, addr: SocketAddr) {
        let at = RelayAddress { peer, addr };
        self.addresses.retain(|known| *known != at);
        self.addresses.push_back(at);
        let of_this = |known: &RelayAddress| known.peer == peer;
        if self.addresses.iter().filter(|known| of_this(known)).count() > MAX_EACH {
            let first = self.addresses.iter().position(of_this);
            first.and_then(|first| self.addresses.remove(first));
        }
        if self.addresses.len() > MAX_KNOWN {
            // Whoever was removed holds the invite too: members go last.
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
        // Of one there are only so many, the oldest first.
        for last in 0..=MAX_EACH {
            known.remember(member, addr(last + 2));
        }
        let all = known.with_invited(&[]);
        assert_eq!(all[&member].len(), MAX_EACH);
        assert!(!all[&member].contains(&addr(1)));
    }

    #[test]
    fn a_stranger_who_connects_is_neither_remembered_nor_company() {
        let [member, stranger] = [(); 2].map(|()| PeerId::random());
        let mut known = Known::default();
        known.connected(stranger, addr(1));
        assert!(known.has_company(), "at the door nobody knows who is who");
        known.connected(member, addr(2));
        known.set_members(&[member]);
        known.set_members(&[]);
        assert!(!known.has_company(), "nothing was heard of them for long");
        known.set_members(&[member]);
        assert!(known.has_company());
        known.disconnected(&member);
        assert!(!known.has_company());
        let all = known.with_invited(&[]);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [member]);
    }
}
