//! The insider's voice: a genuine key, handed out as anybody hands out theirs.

use arbitrary::{Result, Unstructured};
use ed25519_dalek::{Signer, SigningKey};
use undertone_protocol::id::{SignatureBytes, TransportId};
use undertone_protocol::identity::Draft;
use undertone_protocol::record::{Hello, Record};
use undertone_protocol::voice::{OPUS_BYTES, SendKey};

use crate::cast::{INSIDER, LEADER, PEOPLE};
use crate::sealing;
use crate::world::{Flight, World};

/// What the insider speaks with, once they have.
#[derive(Default)]
pub struct Voice(Option<SendKey>);

impl Voice {
    /// Says hello and hands out a new key, or goes on with the one that is out.
    pub fn speak(&mut self, u: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
        if self.0.is_none() || u.arbitrary::<u8>()? < 64 {
            let me = world.cast.people[INSIDER].public_key();
            let from = self.0.as_ref().map_or(0, |key| key.next_sequence() + 1);
            let key = SendKey::generate(world.rng(), &me, from).unwrap();
            sealing::hand_out(world, &key.secret().to_bytes());
            self.0 = Some(key);
        }
        let packet = self
            .0
            .as_mut()
            .and_then(|key| key.seal(&[INSIDER as u8; OPUS_BYTES], false).ok());
        if let Some(packet) = packet {
            for who in 0..PEOPLE {
                world.arrive(who, &Flight::Media(packet.clone().into()));
            }
        }
        Ok(())
    }
}

fn transport() -> SigningKey {
    SigningKey::from_bytes(&[0x71; 32])
}

/// The insider's connection.
pub fn transport_id() -> TransportId {
    TransportId::from_bytes(transport().verifying_key().to_bytes())
}

/// The insider is here, on that connection.
pub fn hello(world: &World) -> Record {
    let me = &world.cast.people[INSIDER];
    let binding = Hello::binding(&world.circle, &me.public_key());
    let hello = Hello {
        transport: transport_id(),
        proof: SignatureBytes::from_bytes(transport().sign(&binding).to_bytes()),
        heads: Vec::new(),
        voice_keys: Vec::new(),
        addresses: Vec::new(),
        digest: 0,
        turn: None,
    };
    let now = world.now();
    let draft = Draft {
        circle: world.circle,
        seq: now.at.as_millis() as u64,
        prev: None,
        lamport: world.state(LEADER).map_or(1, |s| s.lamport()),
        created: now.minute,
        valid_minutes: 2,
        body: hello.into(),
    };
    me.sign(draft).unwrap()
}
