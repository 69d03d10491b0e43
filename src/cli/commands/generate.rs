//! Completions and manual pages, made from the command lines themselves.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, aot};
use clap_mangen::Man;

use crate::cli::{
    arguments::{Autostart, Guestctl},
    error::Error,
    exit::GuestctlExit,
    output::print,
};

/// Prints the completion script of `guestctl`.
pub(super) fn completions(shell: Shell) -> Result<GuestctlExit, Error> {
    let mut script = Vec::new();
    aot::generate(shell, &mut Guestctl::command(), "guestctl", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(GuestctlExit::Done)
}

/// Writes completions for bash, zsh and fish and the manual pages of both programs and of `guestctl`'s commands.
pub(super) fn files(folder: &Path) -> Result<GuestctlExit, Error> {
    let failed = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |source: io::Error| Error::File { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, command) in [("autostart", Autostart::command()), ("guestctl", Guestctl::command())] {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            aot::generate_to(shell, &mut command.clone(), name, folder).map_err(failed(folder))?;
        }
    }
    for (page, section, command) in pages() {
        let path = folder.join(format!("{page}.{section}"));
        let mut file = File::create(&path).map_err(failed(&path))?;
        write_page(&page, section, command, &mut file).map_err(failed(&path))?;
    }
    Ok(GuestctlExit::Done)
}

/// Writes one manual page: what the command line knows of itself, then what a person wrote.
fn write_page(page: &str, section: &str, command: Command, out: &mut impl Write) -> io::Result<()> {
    let has_commands = command.has_subcommands();
    let man = Man::new(command)
        .title(page.to_uppercase())
        .section(section)
        .manual("guestd")
        .source(concat!("guestd ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if has_commands {
        man.render_subcommands_section(out)?;
    }
    out.write_all(written(page).as_bytes())?;
    // Those that end as a command in a guest does say so themselves.
    if page.starts_with("guestctl-") && !written(page).contains("EXIT STATUS") {
        out.write_all(COMMAND_END.as_bytes())?;
    }
    Ok(())
}

/// The end of the page of each of `guestctl`'s commands.
const COMMAND_END: &str = include_str!("../../../man/guestctl-command.roff");

/// The sections of a page that a person wrote.
fn written(page: &str) -> &'static str {
    match page {
        "autostart" => include_str!("../../../man/autostart.roff"),
        "guestctl" => include_str!("../../../man/guestctl.roff"),
        "guestctl-list" => include_str!("../../../man/guestctl-list.roff"),
        "guestctl-stop" => include_str!("../../../man/guestctl-stop.roff"),
        "guestctl-hold" => include_str!("../../../man/guestctl-hold.roff"),
        "guestctl-plan" => include_str!("../../../man/guestctl-plan.roff"),
        "guestctl-deps" => include_str!("../../../man/guestctl-deps.roff"),
        "guestctl-check" => include_str!("../../../man/guestctl-check.roff"),
        "guestctl-attach" => include_str!("../../../man/guestctl-attach.roff"),
        "guestctl-console" => include_str!("../../../man/guestctl-console.roff"),
        "guestctl-exec" => include_str!("../../../man/guestctl-exec.roff"),
        "guestctl-top" => include_str!("../../../man/guestctl-top.roff"),
        "guestctl-cat" => include_str!("../../../man/guestctl-cat.roff"),
        _ => "",
    }
}

/// The manual pages: name, section and command.
fn pages() -> Vec<(String, &'static str, Command)> {
    let mut guestctl = Guestctl::command().disable_help_subcommand(true);
    guestctl.build();
    let mut pages = vec![("autostart".to_owned(), "8", Autostart::command())];
    for command in guestctl.get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = format!("guestctl-{}", command.get_name());
        pages.push((page, "1", command.clone()));
    }
    pages.push(("guestctl".to_owned(), "1", guestctl));
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_a_script() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path()).unwrap();
        for (file, text) in [
            ("autostart.8", "ignore-auto"),
            ("autostart.8", "EXIT STATUS"),
            ("guestctl.1", "guestctl-cat(1)"),
            ("guestctl-plan.1", "EXAMPLES"),
            ("guestctl-deps.1", "required_by"),
            ("guestctl.fish", "deps"),
            ("guestctl-thaw.1", "Let frozen guests go on"),
            ("guestctl-plan.1", "Ignore start.auto"),
            ("autostart.bash", "--ignore-auto"),
            ("_guestctl", "unfreeze"),
            ("guestctl.fish", "cancel"),
            ("guestctl-attach.1", "three times within a second"),
            ("guestctl-exec.1", "It failed in some of them"),
            ("guestctl-top.1", "cpu_percent"),
        ] {
            let read = fs::read_to_string(folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(read.replace("\\-", "-").contains(text), "{file}: {read}");
        }
    }
}
