//! Input, output and errors of what runs in a guest, where it has no terminal: this program's own, as far as these are no
//! terminals either, and else pipes. A terminal is never handed on: whoever has it could do everything with it.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, OwnedFd},
    thread,
};

use rustix::{
    io::read,
    pipe::{PipeFlags, pipe_with},
};
use tokio::net::unix::pipe;

use super::{
    bus::Bus,
    error::Error,
    session::{self, Wish},
};

const PIECE: usize = 16 * 1024;
/// How much is read of what was printed before the end, in pieces: what a process left behind goes on with has none.
const LAST_PIECES: usize = 64;

/// Where something printed in a guest goes.
pub trait Sink {
    /// Takes a piece.
    fn take(&mut self, piece: &[u8]);
}

/// To a stream of this program.
struct To<W>(W);

impl<W: Write> Sink for To<W> {
    fn take(&mut self, piece: &[u8]) {
        // Whoever read it has left.
        let _ = self.0.write_all(piece).and_then(|()| self.0.flush());
    }
}

/// One stream: the end for the guest, and what to do with the other end where it is a pipe.
struct Stream<'a> {
    end: OwnedFd,
    tap: Option<Tap<'a>>,
}

struct Tap<'a> {
    pipe: pipe::Receiver,
    sink: &'a mut dyn Sink,
}

impl<'a> Stream<'a> {
    /// To a sink.
    fn to(sink: &'a mut dyn Sink) -> io::Result<Self> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        let pipe = pipe::Receiver::from_owned_fd(reading)?;
        Ok(Self { end: writing, tap: Some(Tap { pipe, sink }) })
    }

    /// To a stream of this program; through a sink where it is a terminal.
    fn own(own: &(impl AsFd + IsTerminal), sink: &'a mut dyn Sink) -> io::Result<Self> {
        if own.is_terminal() {
            return Self::to(sink);
        }
        Ok(Self { end: own.as_fd().try_clone_to_owned()?, tap: None })
    }
}

impl Tap<'_> {
    /// Passes on what comes, for ever.
    async fn follow(&mut self) -> Infallible {
        let mut buffer = vec![0; PIECE];
        while self.pipe.readable().await.is_ok() {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.sink.take(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        std::future::pending().await
    }

    /// Passes on what is there, also what the runtime has not heard of yet.
    fn drain(&mut self) {
        let mut buffer = vec![0; PIECE];
        for _ in 0..LAST_PIECES {
            match read(&self.pipe, &mut buffer) {
                Ok(length) if length > 0 => self.sink.take(&buffer[..length]),
                _ => return,
            }
        }
    }
}

/// Runs a command with this program's own input, output and errors.
///
/// # Errors
/// As of [`session::attach`].
pub async fn run(bus: &Bus, wish: Wish<'_>) -> Result<u8, Error> {
    let input = own_input().map_err(failed)?;
    run_with_input(bus, wish, input).await
}

/// The same with nothing to read.
///
/// # Errors
/// As of [`session::attach`].
pub async fn run_without_input(bus: &Bus, wish: Wish<'_>) -> Result<u8, Error> {
    let input = null().map_err(failed)?;
    run_with_input(bus, wish, input).await
}

async fn run_with_input(bus: &Bus, wish: Wish<'_>, input: OwnedFd) -> Result<u8, Error> {
    let (mut out, mut errors) = (To(io::stdout()), To(io::stderr()));
    let out = Stream::own(&io::stdout(), &mut out).map_err(failed)?;
    let errors = Stream::own(&io::stderr(), &mut errors).map_err(failed)?;
    attach(bus, wish, input, out, errors).await
}

/// Runs a command with nothing to read, and hands out what it prints, and what its errors are.
///
/// # Errors
/// As of [`session::attach`].
pub async fn run_into(
    bus: &Bus,
    wish: Wish<'_>,
    out: &mut dyn Sink,
    errors: &mut dyn Sink,
) -> Result<u8, Error> {
    let input = null().map_err(failed)?;
    let (out, errors) = (Stream::to(out).map_err(failed)?, Stream::to(errors).map_err(failed)?);
    attach(bus, wish, input, out, errors).await
}

async fn attach<'a>(
    bus: &Bus,
    wish: Wish<'_>,
    input: OwnedFd,
    out: Stream<'a>,
    errors: Stream<'a>,
) -> Result<u8, Error> {
    let stdio = [input, out.end, errors.end];
    let mut taps = [out.tap, errors.tap];
    let [first, second] = &mut taps;
    let end = tokio::select! {
        end = session::attach(bus, wish, stdio, || {}) => end,
        never = follow(first) => match never {},
        never = follow(second) => match never {},
    };
    taps.iter_mut().flatten().for_each(Tap::drain);
    end
}

async fn follow(tap: &mut Option<Tap<'_>>) -> Infallible {
    match tap {
        Some(tap) => tap.follow().await,
        None => std::future::pending().await,
    }
}

fn failed(source: io::Error) -> Error {
    Error::Setup { operation: "make pipes", source }
}

fn null() -> io::Result<OwnedFd> {
    File::open("/dev/null").map(OwnedFd::from)
}

/// This program's input; what is typed is passed on line by line, by a thread that ends with this program.
fn own_input() -> io::Result<OwnedFd> {
    if !io::stdin().is_terminal() {
        return io::stdin().as_fd().try_clone_to_owned();
    }
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::Builder::new().name("keyboard".into()).spawn(move || {
        // Its end is the end of the input.
        let _ = io::copy(&mut io::stdin().lock(), &mut File::from(writing));
    })?;
    Ok(reading)
}
