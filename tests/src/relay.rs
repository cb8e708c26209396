//! A relay as its operator runs it: the program, a file of settings, a folder.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const LONGEST_START: Duration = Duration::from_secs(10);
/// What the kernel counts processor time in, a second.
const CLOCK_TICKS: u64 = 100;

/// See the module. It is killed when it is dropped.
pub struct RelayProcess {
    command: Box<dyn Fn() -> Command + Send>,
    folder: PathBuf,
    child: Option<Child>,
    /// Its hub, as other operators write it into their settings.
    pub hub: String,
    /// The ways for leaders: to its own hub, then to others'.
    pub ways: Vec<String>,
}

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Memory it has now, KiB.
    pub resident: u64,
    /// The most it has had.
    pub peak: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

impl RelayProcess {
    /// Starts the program that `command` says with these settings (TOML) and an identity in `folder`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        command: impl Fn() -> Command + Send + 'static,
        folder: PathBuf,
        settings: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let settings = format!("identity = {:?}\n{settings}", folder.join("relay.key"));
        std::fs::write(folder.join("relay.toml"), settings)?;
        let mut this = Self {
            command: Box::new(command),
            folder,
            child: None,
            hub: String::new(),
            ways: Vec::new(),
        };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it as it was.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        let told = self.folder.join("told");
        let mut command = (self.command)();
        command.arg("relay").arg(self.folder.join("relay.toml"));
        let log = (File::options().append(true).create(true)).open(self.folder.join("log"))?;
        let child = command.stdout(File::create(&told)?).stderr(log).spawn();
        self.child = Some(child.context("the relay does not start")?);
        let begun = Instant::now();
        let text = loop {
            let text = std::fs::read_to_string(&told)?;
            if text.contains("Ctrl-C") {
                break text;
            }
            if begun.elapsed() > LONGEST_START {
                bail!("the relay says no address: {text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let addresses = text
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("/ip4/"));
        let (ways, hubs): (Vec<&str>, Vec<&str>) =
            addresses.partition(|a| a.contains("p2p-circuit"));
        self.hub = (*hubs.first().context("no hub")?).to_owned();
        self.ways = ways.into_iter().map(str::to_owned).collect();
        Ok(())
    }

    /// What it takes of the machine.
    ///
    /// # Errors
    /// When it has ended, or the system does not say.
    pub fn usage(&self) -> Result<Usage> {
        let pid = self.child.as_ref().context("the relay was killed")?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|n| n.parse().ok())
                .context("no memory is told")
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no time is told")?;
        // User and system time (proc_pid_stat(5)).
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.flat_map(str::parse::<u64>).sum();
        Ok(Usage {
            resident: kib("VmRSS:")?,
            peak: kib("VmHWM:")?,
            cpu: Duration::from_millis(1_000 / CLOCK_TICKS * ticks),
        })
    }

    /// Kills it, without a word to anybody.
    ///
    /// # Errors
    /// When it cannot.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
