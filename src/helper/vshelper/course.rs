//! What a call comes to: util-vserver's order of files, and what its actions mean for guests that guestd runs.
//!
//! Pure: the files are looked at through [`Files`], each only when it is its turn.

use std::path::PathBuf;

use crate::{
    helper::wire::{ContextEvent, Event},
    model::name::shown,
};

/// Whose folder a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// `/etc/vservers/NAME`.
    Guest,
    /// `/etc/vservers/.defaults`.
    Defaults,
}

/// Files of util-vserver's configuration, by their path in a folder.
pub trait Files {
    /// Whether there is anything under this name.
    fn is_there(&self, whose: Whose, path: &str) -> bool;

    /// The program under this name; none where there is none that may be run.
    fn program(&self, whose: Whose, path: &str) -> Option<PathBuf>;

    /// The first line of the file under this name; none where there is no file, or nothing in that line.
    fn first_line(&self, whose: Whose, path: &str) -> Option<String>;
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Nothing, for this reason.
    Nothing(String),
    /// This is run instead, with the same arguments; its exit status is the last word.
    Run {
        /// The program.
        program: PathBuf,
        /// What it is.
        role: Role,
    },
    /// guestd is told this.
    Tell(Event),
    /// Nothing, for want of something.
    Fail(String),
}

/// What a program is run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In place of all else, under the event's name.
    Delegate,
    /// For an event.
    Event,
    /// As a method, which is told the guest's folder in `VSERVER`.
    Method,
}

/// What comes before it matters whose the context is; none where that is needed.
pub fn of_all(event: ContextEvent, files: &impl Files) -> Option<Course> {
    let delegate = format!("apps/vshelper-delegate/{}", event.as_str());
    let program = files.program(Whose::Defaults, &delegate)?;
    Some(Course::Run { program, role: Role::Delegate })
}

/// Whether the helper does nothing for anybody.
pub fn is_disabled(files: &impl Files) -> bool {
    files.is_there(Whose::Defaults, DISABLED)
}

const DISABLED: &str = "apps/vshelper/disabled";

/// What is done for a guest.
pub fn of_guest(event: ContextEvent, files: &impl Files) -> Course {
    if files.is_there(Whose::Guest, DISABLED) {
        return Course::Nothing("it is disabled for this guest".into());
    }
    for whose in [Whose::Guest, Whose::Defaults] {
        if let Some(program) = files.program(whose, &format!("apps/vshelper/{}", event.as_str())) {
            return Course::Run { program, role: Role::Event };
        }
        if let Some(action) = files.first_line(whose, "apps/vshelper/action") {
            return method(&action, event, files);
        }
    }
    method("restart", event, files)
}

fn method(action: &str, event: ContextEvent, files: &impl Files) -> Course {
    let reboot = match action {
        "restart" => Event::Reboot,
        // util-vserver's while it stops a guest: all that is left of it is killed.
        "async" | "sync" => Event::Declined,
        name => {
            let is_name = !name.contains('/') && !name.starts_with('.');
            let program = is_name.then(|| format!("apps/vshelper-methods/{name}"));
            return match program.and_then(|path| files.program(Whose::Defaults, &path)) {
                Some(program) => Course::Run { program, role: Role::Method },
                None => Course::Fail(format!(
                    "the action \"{}\" is neither restart, async or sync nor a program in \
                     .defaults/apps/vshelper-methods",
                    shown(name)
                )),
            };
        }
    };
    match event {
        ContextEvent::Restart => Course::Tell(reboot),
        ContextEvent::Halt => Course::Tell(Event::Halt),
        ContextEvent::Poweroff => Course::Tell(Event::Poweroff),
        ContextEvent::Shutdown => Course::Tell(Event::Stop),
        ContextEvent::Swsusp
        | ContextEvent::Oom
        | ContextEvent::Startup
        | ContextEvent::Netup
        | ContextEvent::Netdown => Course::Nothing(format!("nothing is done on {}", event.as_str())),
    }
}
