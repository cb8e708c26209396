//! gossipsub, tightened: how members of direct circles tell each other what concerns all.
//!
//! Circles have at most sixteen members, send little, and want what is sent at every member at once. So: messages are
//! anonymous and named by their content, a publisher tells every subscriber itself, forwarding waits for the driver's
//! verdict, and every queue is orders of magnitude below the defaults.
//!
//! Relays are no part of it: gossipsub tells every neighbour each topic that one hears, and to a hub's clients that
//! would be the topics of everybody else's circles (`docs/decisions/0012`).

use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, Message,
    MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash,
    TopicScoreParams, TopicSubscriptionFilter, ValidationMode,
};
use sha2::{Digest, Sha256};

use super::types::Topic;

/// gossipsub as Undertone uses it.
pub(crate) type Gossip =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<OpaqueTopics>>;

/// Largest RPC, bytes: room for one control payload and its framing, and for the 8 KiB that may be read beyond it
/// before it is whole. The codec holds all it has read, not one RPC, against this; five streams ended so, and a
/// connection is deaf for good.
const MAX_TRANSMIT: usize = 32 * 1024;
const HEARTBEAT: Duration = Duration::from_millis(400);
/// Messages are kept this many heartbeats for a verdict and for whoever missed them: about five seconds.
const HISTORY: usize = 12;
/// A message seen again within this time is the same message.
const DUPLICATE_CACHE: Duration = Duration::from_secs(120);
/// RPCs waiting for one peer's connection.
const QUEUE_PER_PEER: usize = 256;
/// Messages in one RPC.
const MAX_MESSAGES_PER_RPC: usize = 64;
/// Message ids (in IHAVE, IWANT) in one RPC, and bytes of them: 34 each.
const MAX_CONTROL_PER_RPC: usize = 256;
const MAX_CONTROL_BYTES_PER_RPC: usize = 12 * 1024;
/// Topics one peer may subscribe to.
const MAX_TOPICS_PER_PEER: usize = 16;

pub(crate) fn behaviour() -> Result<Gossip, String> {
    let mut config = ConfigBuilder::default();
    config
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_TRANSMIT)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        .history_gossip(HISTORY / 2)
        .duplicate_cache_time(DUPLICATE_CACHE)
        .flood_publish(true)
        .connection_handler_queue_len(QUEUE_PER_PEER)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(5))
        .max_publish_messages(MAX_MESSAGES_PER_RPC)
        .max_control_messages_sent(MAX_CONTROL_PER_RPC)
        .max_control_message_size(MAX_CONTROL_BYTES_PER_RPC)
        .iwant_followup_time(Duration::from_secs(2))
        .prune_backoff(Duration::from_secs(5))
        .unsubscribe_backoff(Duration::from_secs(1))
        .graft_flood_threshold(Duration::from_secs(1))
        .prune_peers(0)
        .gossip_lazy(6)
        .mesh_outbound_min(0)
        // The mesh only has to reach members the publisher is not connected to; publishing itself goes to everybody.
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(16);
    let config = config.build().map_err(|e| e.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: OpaqueTopics,
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: 2 * MAX_TOPICS_PER_PEER,
    };
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(str::to_owned)?;
    gossip.with_peer_score(score_params(), PeerScoreThresholds::default())?;
    Ok(gossip)
}

/// SHA-256 of topic and data: the same bytes on the same topic are the same message, whoever sends them.
fn message_id(message: &Message) -> MessageId {
    let mut hash = Sha256::new();
    // Topics have one length, so the concatenation has one reading.
    hash.update(message.topic.as_str().as_bytes());
    hash.update(&message.data);
    MessageId::from(hash.finalize().to_vec())
}

fn score_params() -> PeerScoreParams {
    PeerScoreParams {
        // Families, shelters and universities share addresses.
        ip_colocation_factor_weight: 0.0,
        app_specific_weight: 0.0,
        topic_score_cap: 20.0,
        // Rotating topics makes honest peers graft at odd moments.
        behaviour_penalty_threshold: 6.0,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

/// Scores of one topic. Only rejected messages weigh: three within a few seconds silence a neighbour for about ten
/// (graylist at −80). Circles are quiet, so delivery rates say nothing and are not scored.
pub(crate) fn topic_score_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    }
}

/// The gossipsub topic of an opaque topic: its lower-case hex.
pub(crate) fn ident_topic(topic: &Topic) -> IdentTopic {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hex = topic.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    IdentTopic::new(
        hex.filter_map(|nibble| DIGITS.get(usize::from(nibble)).map(|d| char::from(*d)))
            .collect::<String>(),
    )
}

/// The opaque topic of a gossipsub topic; `None` unless it is 64 lower-case hex digits.
pub(crate) fn topic_of(hash: &TopicHash) -> Option<Topic> {
    let text = hash.as_str().as_bytes();
    if text.len() != 64 {
        return None;
    }
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(Topic(out))
}

/// Lets peers subscribe to topics of the right form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpaqueTopics;

impl TopicSubscriptionFilter for OpaqueTopics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        topic_of(topic).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_survive_the_round_trip() {
        let topic = Topic(std::array::from_fn(|i| (i * 37) as u8));
        assert_eq!(topic_of(&ident_topic(&topic).hash()), Some(topic));
    }

    #[test]
    fn only_hex_of_the_right_length_is_a_topic() {
        for text in [
            String::new(),
            "ab".into(),
            "AB".repeat(32),
            "zz".repeat(32),
            "ab".repeat(33),
        ] {
            assert_eq!(topic_of(&TopicHash::from_raw(text)), None);
        }
    }

    #[test]
    fn the_configuration_is_valid() {
        assert!(behaviour().is_ok());
        assert!(topic_score_params().validate().is_ok());
    }

    #[test]
    fn a_message_is_named_by_topic_and_data() {
        let message = |topic: u8, data: &[u8]| Message {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: ident_topic(&Topic([topic; 32])).hash(),
        };
        assert_eq!(message_id(&message(1, b"a")), message_id(&message(1, b"a")));
        assert_ne!(message_id(&message(1, b"a")), message_id(&message(2, b"a")));
        assert_ne!(message_id(&message(1, b"a")), message_id(&message(1, b"b")));
    }
}
