//! `guestctl attach` and `guestctl console`.

use crate::cli::{bus::Bus, error::Error, exit::GuestctlExit, session::Wish, streams, terminal};

/// A command in a guest, or its root's shell. On a terminal it has one, else this program's streams.
pub(super) async fn run(name: &str, command: &[String]) -> Result<GuestctlExit, Error> {
    attach(Wish { guest: name, command, console: false }).await
}

/// A guest's console.
pub(super) async fn console(name: &str) -> Result<GuestctlExit, Error> {
    if !terminal::is_there() {
        return Err(Error::NoTerminal);
    }
    attach(Wish { guest: name, command: &[], console: true }).await
}

async fn attach(wish: Wish<'_>) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    let ended = match terminal::is_there() {
        true => terminal::Terminal::new()?.run(&bus, wish).await,
        false => streams::run(&bus, wish).await,
    };
    match ended {
        Ok(status) => Ok(GuestctlExit::Command(status)),
        Err(error) => Err(bus.with_suggestion(wish.guest, error).await),
    }
}
