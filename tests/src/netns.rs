//! A small Internet on one Linux machine: network namespaces on one bridge, routers with NAT in front of people's
//! own, relays as processes of their own, and captures of what passes. Needs root, `ip`, `nft` and `tcpdump`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quinn::{Runtime, TokioRuntime};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use undertone_node::net::SocketFactory;

/// What every name begins with, so that what an earlier run left can be cleared away.
const PREFIX: &str = "undertone-";
const BRIDGE: &str = "bridge";
const LONGEST_START: Duration = Duration::from_secs(20);

/// What a router does with its people's addresses (RFC 4787).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// None: the host has a public address.
    None,
    /// One outside port for an inside one, and whoever sends there comes in.
    FullCone,
    /// One outside port for an inside one; only who was sent to comes in.
    PortRestricted,
    /// Another outside port for each destination.
    Symmetric,
    /// As `PortRestricted`, and forgets an association after 5 seconds of silence.
    Forgetful,
}

impl Nat {
    /// All that hide an address.
    pub const HIDING: [Self; 4] = [
        Self::FullCone,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Forgetful,
    ];
}

/// Namespaces and what runs in them; gone when dropped.
pub struct Internet {
    spaces: Vec<String>,
    captures: Vec<Child>,
}

/// A place in it where sockets can be opened.
#[derive(Debug, Clone)]
pub struct Host {
    space: String,
    /// Its own address.
    pub inside: Ipv4Addr,
    /// The address that others see.
    pub outside: Ipv4Addr,
    /// Its router, if it has one.
    gateway: Option<Ipv4Addr>,
}

impl Internet {
    /// An empty one.
    ///
    /// # Errors
    /// Without root, or one of the tools.
    pub fn new() -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root"
        );
        for tool in ["ip", "nft", "tcpdump"] {
            let found = Command::new(tool).arg("--help").output();
            ensure!(found.is_ok(), "{tool} is not on this machine");
        }
        let listed = Command::new("ip").args(["netns", "list"]).output()?;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            if let Some(name) = line.split(' ').next().filter(|n| n.starts_with(PREFIX)) {
                run("ip", &["netns", "del", name])?;
            }
        }
        let mut this = Self {
            spaces: Vec::new(),
            captures: Vec::new(),
        };
        let middle = this.space("middle")?;
        within(&middle, "ip", &["link", "add", BRIDGE, "type", "bridge"])?;
        within(&middle, "ip", &["link", "set", BRIDGE, "up"])?;
        Ok(this)
    }

    /// Whether there can be one here, with routers and captures.
    ///
    /// # Errors
    /// Why not.
    pub fn probe() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut this = Self::new()?;
        for (number, nat) in (10..).zip(Nat::HIDING) {
            let host = this.host(&format!("probe-{number}"), number, nat)?;
            this.capture(&host, &folder.path().join(number.to_string()))?;
        }
        this.end_captures()
    }

    /// A host at 100.64.0.`number`, or behind a router there that does this.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn host(&mut self, name: &str, number: u8, nat: Nat) -> Result<Host> {
        let outside = Ipv4Addr::new(100, 64, 0, number);
        let space = self.space(name)?;
        if nat == Nat::None {
            self.plug(&space, outside)?;
            return Ok(Host {
                space,
                inside: outside,
                outside,
                gateway: None,
            });
        }
        let router = self.space(&format!("{name}-router"))?;
        self.plug(&router, outside)?;
        let (inside, gateway) = (
            Ipv4Addr::new(10, number, 0, 2),
            Ipv4Addr::new(10, number, 0, 1),
        );
        run(
            "ip",
            &[
                "link", "add", "in", "netns", &router, "type", "veth", "peer", "name", "out",
                "netns", &space,
            ],
        )?;
        address(&router, "in", &format!("{gateway}/24"))?;
        address(&space, "out", &format!("{inside}/24"))?;
        within(
            &space,
            "ip",
            &["route", "add", "default", "via", &gateway.to_string()],
        )?;
        within(&router, "sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        let masquerade = match nat {
            Nat::Symmetric => "masquerade fully-random",
            _ => "masquerade",
        };
        let mut rules = format!(
            "table ip nat {{ chain out {{ type nat hook postrouting priority 100; oifname \"out\" {masquerade}; }}\n"
        );
        if nat == Nat::FullCone {
            rules += &format!(
                "chain in {{ type nat hook prerouting priority -100; iifname \"out\" meta l4proto udp dnat to {inside}; }}\n"
            );
        }
        rules += "}\n";
        let file = std::env::temp_dir().join(format!("{space}.nft"));
        std::fs::write(&file, rules)?;
        within(&router, "nft", &["-f", &file.to_string_lossy()])?;
        std::fs::remove_file(file)?;
        if nat == Nat::Forgetful {
            for name in ["udp_timeout", "udp_timeout_stream"] {
                within(
                    &router,
                    "sysctl",
                    &["-qw", &format!("net.netfilter.nf_conntrack_{name}=5")],
                )?;
            }
        }
        Ok(Host {
            space,
            inside,
            outside,
            gateway: Some(gateway),
        })
    }

    /// Writes down what passes at a host.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&mut self, host: &Host, file: &Path) -> Result<()> {
        let mut dump = Command::new("ip");
        dump.args([
            "netns",
            "exec",
            &host.space,
            "tcpdump",
            "-i",
            "out",
            "-U",
            "-s",
            "200",
            "-w",
        ]);
        let child = dump.arg(file).stderr(Stdio::null()).spawn();
        self.captures.push(child.context("tcpdump does not start")?);
        let begun = Instant::now();
        while std::fs::metadata(file).map_or(0, |m| m.len()) < 24 {
            ensure!(begun.elapsed() < LONGEST_START, "tcpdump writes nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends all captures, with everything on disk.
    ///
    /// # Errors
    /// When they cannot be ended, or one has ended before.
    pub fn end_captures(&mut self) -> Result<()> {
        for mut capture in self.captures.drain(..) {
            let ended = capture.try_wait()?;
            ensure!(ended.is_none(), "a capture ended before it was to");
            run("kill", &["-INT", &capture.id().to_string()])?;
            capture.wait()?;
        }
        Ok(())
    }

    fn space(&mut self, name: &str) -> Result<String> {
        let name = format!("{PREFIX}{name}");
        run("ip", &["netns", "add", &name])?;
        self.spaces.push(name.clone());
        within(&name, "ip", &["link", "set", "lo", "up"])?;
        Ok(name)
    }

    /// Puts a namespace on the bridge.
    fn plug(&self, space: &str, at: Ipv4Addr) -> Result<()> {
        let middle = format!("{PREFIX}middle");
        let port = format!("p{}", at.octets()[3]);
        run(
            "ip",
            &[
                "link", "add", &port, "netns", &middle, "type", "veth", "peer", "name", "out",
                "netns", space,
            ],
        )?;
        within(
            &middle,
            "ip",
            &["link", "set", &port, "master", BRIDGE, "up"],
        )?;
        address(space, "out", &format!("{at}/24"))
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // What is left of it does no harm, and the next run clears it away.
        let _ = self.end_captures();
        for space in &self.spaces {
            let _ = run("ip", &["netns", "del", space]);
        }
    }
}

impl Host {
    /// Opens UDP sockets there, whichever thread asks.
    pub fn sockets(&self) -> SocketFactory {
        let path = Path::new("/run/netns").join(&self.space);
        Arc::new(move |bind| TokioRuntime.wrap_udp_socket(bind_within(&path, bind)?))
    }

    /// Every address that it has or comes to have, and its router's.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let elsewhere = self.gateway.map(|_| self.elsewhere());
        [self.inside, self.outside]
            .into_iter()
            .chain(elsewhere)
            .collect()
    }

    /// Its own address after its cable was moved.
    fn elsewhere(&self) -> Ipv4Addr {
        let [a, b, c, last] = self.inside.octets();
        Ipv4Addr::new(a, b, c, last + 1)
    }

    /// A UDP socket there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn socket(&self, port: u16) -> std::io::Result<UdpSocket> {
        let path = Path::new("/run/netns").join(&self.space);
        bind_within(&path, (self.inside, port).into())
    }

    /// Takes the cable out.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn unplug(&self) -> Result<()> {
        within(&self.space, "ip", &["link", "set", "out", "down"])
    }

    /// Puts it in somewhere else, if there is a router: with another address behind that.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn plug_elsewhere(&self) -> Result<()> {
        let Some(gateway) = self.gateway else {
            return within(&self.space, "ip", &["link", "set", "out", "up"]);
        };
        let listed = self
            .command(Path::new("ip"))
            .args(["-4", "-o", "addr", "show", "out"])
            .output()?;
        let here = String::from_utf8_lossy(&listed.stdout).contains(&format!("{}/", self.inside));
        let next = match here {
            true => self.elsewhere(),
            false => self.inside,
        };
        within(&self.space, "ip", &["addr", "flush", "dev", "out"])?;
        address(&self.space, "out", &format!("{next}/24"))?;
        let via = ["route", "add", "default", "via", &gateway.to_string()];
        within(&self.space, "ip", &via)
    }

    /// A command to be run there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space]).arg(program);
        command
    }
}

/// A socket belongs to the namespace in which it is opened; so a thread goes there for it.
fn bind_within(space: &Path, bind: SocketAddr) -> std::io::Result<UdpSocket> {
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| {
            let space = File::open(space)?;
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&space),
                Some(LinkNameSpaceType::Network),
            )?;
            UdpSocket::bind(bind)
        });
        opened
            .join()
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    })
}

fn address(space: &str, device: &str, at: &str) -> Result<()> {
    within(space, "ip", &["addr", "add", at, "dev", device])?;
    within(space, "ip", &["link", "set", device, "up"])
}

fn within(space: &str, program: &str, args: &[&str]) -> Result<()> {
    run("ip", &[&["netns", "exec", space, program], args].concat())
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let done = Command::new(program).args(args).output();
    let done = done.with_context(|| format!("{program} does not start"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "{program} {}: {}",
        args.join(" "),
        said.trim()
    );
    Ok(())
}
