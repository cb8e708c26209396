//! What was captured on a line: whole packets as libpcap's files hold them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// One UDP packet over IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Since 1970.
    pub at: Duration,
    /// Who sent it.
    pub from: Ipv4Addr,
    /// Whom to.
    pub to: Ipv4Addr,
    /// Bytes of UDP payload, as sent.
    pub length: usize,
    /// The beginning of the payload, as much as was captured.
    pub payload: Vec<u8>,
}

/// Reads the UDP packets of a file; other packets are left out.
///
/// # Errors
/// When it is no capture of an Ethernet device with microseconds.
pub fn read(path: &Path) -> Result<Vec<Captured>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.starts_with(&0xa1b2_c3d4_u32.to_le_bytes())
            && bytes.get(20..24) == Some(&[1, 0, 0, 0]),
        "{} is no capture of an Ethernet device",
        path.display()
    );
    let (mut packets, mut rest) = (Vec::new(), &bytes[FILE_HEADER..]);
    while let Some((header, more)) = rest.split_at_checked(PACKET_HEADER) {
        let word =
            |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        // The last one may have been cut off.
        let Some((frame, more)) = more.split_at_checked(word(8) as usize) else {
            break;
        };
        rest = more;
        let at = Duration::new(word(0).into(), word(4) * 1_000);
        packets.extend(udp(at, frame));
    }
    Ok(packets)
}

fn udp(at: Duration, frame: &[u8]) -> Option<Captured> {
    let (ethernet, ip) = frame.split_at_checked(ETHERNET)?;
    let header = usize::from(ip.first()? & 15) * 4;
    if ethernet[12..] != IPV4 || *ip.get(9)? != UDP {
        return None;
    }
    let four = |i: usize| Some(Ipv4Addr::from(*ip.get(i..i + 4)?.first_chunk::<4>()?));
    let length = ip.get(header + 4..header + 6)?;
    Some(Captured {
        at,
        from: four(12)?,
        to: four(16)?,
        length: usize::from(u16::from_be_bytes([length[0], length[1]])).saturating_sub(8),
        payload: ip.get(header + 8..)?.to_vec(),
    })
}

/// First bit of a QUIC packet with a long header (RFC 9000 §17.2): handshakes, parts of which anybody can read.
const LONG_HEADER: u8 = 0x80;

/// How often an address is seen in these packets: in their headers, as text, or as four bytes of a handshake. Four bytes of what is
/// sealed would turn up by chance in a few million packets.
pub fn sightings(packets: &[Captured], address: Ipv4Addr) -> usize {
    let (bytes, text) = (address.octets(), address.to_string());
    let holds = |payload: &[u8], what: &[u8]| payload.windows(what.len()).any(|w| w == what);
    let seen = |p: &&Captured| {
        p.from == address
            || p.to == address
            || holds(&p.payload, text.as_bytes())
            || p.payload.first().is_some_and(|b| b & LONG_HEADER != 0) && holds(&p.payload, &bytes)
    };
    packets.iter().filter(seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV4);
        frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0]);
        frame.extend(from);
        frame.extend(to);
        frame.extend([0, 1, 0, 2]);
        frame.extend((payload.len() as u16 + 8).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn what_was_captured_is_read_and_addresses_are_found_in_it() {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([0; 16]);
        file.extend([1, 0, 0, 0]);
        let frames = [
            frame([10, 0, 0, 1], [10, 0, 0, 2], b"hello"),
            frame([10, 0, 0, 3], [10, 0, 0, 2], b"I am 10.0.0.1"),
            frame([10, 0, 0, 3], [10, 0, 0, 2], &[0xc1, 10, 0, 0, 1, 2]),
            vec![0; 60],
        ];
        for frame in &frames {
            let length = frame.len() as u32;
            for word in [5, 250_000, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        // Cut off in the last one.
        fs::write(&path, &file[..file.len() - 10]).unwrap();
        let packets = read(&path).unwrap();
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[0].at, Duration::from_millis(5_250));
        assert_eq!(
            (packets[0].length, &packets[0].payload[..]),
            (5, &b"hello"[..])
        );
        assert_eq!(sightings(&packets, Ipv4Addr::new(10, 0, 0, 1)), 3);
        assert_eq!(sightings(&packets, Ipv4Addr::new(10, 0, 0, 2)), 3);
        assert_eq!(sightings(&packets, Ipv4Addr::new(10, 0, 0, 4)), 0);
        fs::write(&path, b"nothing").unwrap();
        assert!(read(&path).is_err());
    }
}
