//! Runs programs in a virtual machine: the other end of the script `agent`.

use std::{
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{ExitStatus, Output},
    time::Instant,
};

/// A connection to the agent of a machine, whichever boot it is of.
pub struct Agent {
    port: UnixStream,
    read: Vec<u8>,
    boot: String,
    number: u32,
}

impl Agent {
    /// A connection, and its end for the machine.
    pub fn new() -> (Self, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (Self { port: ours, read: Vec::new(), boot: String::new(), number: 0 }, theirs.into())
    }

    /// Waits for the agent of another boot.
    pub fn await_boot(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let line = self.line(deadline)?;
            if let Some(boot) = line.strip_prefix("boot ").filter(|boot| *boot != self.boot) {
                boot.clone_into(&mut self.boot);
                return Ok(());
            }
        }
    }

    /// Sends lines of shell, and waits for nothing.
    pub fn send(&mut self, lines: &str) -> io::Result<()> {
        self.number += 1;
        self.port.write_all(format!("{} {}\n{lines}", self.number, lines.len()).as_bytes())
    }

    /// Runs lines of shell.
    pub fn run(&mut self, lines: &str, deadline: Instant) -> io::Result<Output> {
        self.send(lines)?;
        loop {
            let line = self.line(deadline)?;
            let words: Vec<_> = line.split(' ').collect();
            let numbers = || words[1..].iter().map(|word| word.parse().ok()).collect::<Option<Vec<usize>>>();
            match (words[0], numbers().as_deref()) {
                ("done", Some(&[number, status, out, err])) => {
                    let (stdout, stderr) = (self.take(out, deadline)?, self.take(err, deadline)?);
                    if number == self.number as usize {
                        let status = ExitStatus::from_raw(i32::try_from(status << 8).expect("a status"));
                        return Ok(Output { status, stdout, stderr });
                    }
                }
                _ => return Err(io::Error::other(format!("it said {line:?}"))),
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more(deadline)?;
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.read.len() < length {
            self.more(deadline)?;
        }
        Ok(self.read.drain(..length).collect())
    }

    fn more(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        self.port.set_read_timeout(Some(left))?;
        let mut bytes = [0; 65536];
        match self.port.read(&mut bytes) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the machine is off")),
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
