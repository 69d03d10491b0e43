//! `[hooks]`: commands that guestd runs on the host around a guest's start and stop.

use std::{fmt, ops::Deref};

/// A command: a program and its arguments. Never empty; the program is an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

/// Why words are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgvError {
    /// There are none.
    #[error("a command is a program and its arguments, not an empty list")]
    Empty,
    /// The program is not an absolute path.
    #[error("the program of a command is an absolute path such as \"/usr/bin/test\"")]
    NotAbsolute,
    /// There are too many.
    #[error("a command has at most {max} words, the program among them", max = Argv::MAX)]
    TooMany,
    /// One has a NUL, which ends every argument.
    #[error("a command has no NUL characters")]
    Nul,
}

impl Argv {
    /// The most words, the program among them.
    pub const MAX: usize = 64;

    /// A command of these words.
    ///
    /// # Errors
    /// [`ArgvError`] says why they are none.
    pub fn new(words: Vec<String>) -> Result<Self, ArgvError> {
        let program = words.first().ok_or(ArgvError::Empty)?;
        if !program.starts_with('/') {
            return Err(ArgvError::NotAbsolute);
        }
        if words.len() > Self::MAX {
            return Err(ArgvError::TooMany);
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ArgvError::Nul);
        }
        Ok(Self(words))
    }

    /// The program.
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    /// What it is given.
    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }

    /// All words, the program first.
    pub fn into_words(self) -> Vec<String> {
        self.0
    }
}

impl Deref for Argv {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookStage {
    /// Before the guest is started; the start goes on if all of them succeed.
    PreStart,
    /// Once the guest is up.
    PostStart,
    /// Before the guest is asked to stop.
    PreStop,
    /// Once the guest is down.
    PostStop,
    /// Once the guest has failed.
    OnFailure,
}

impl HookStage {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::PreStart, Self::PostStart, Self::PreStop, Self::PostStop, Self::OnFailure];

    /// Its key in `[hooks]`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
            Self::OnFailure => "on-failure",
        }
    }
}

impl fmt::Display for HookStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `[hooks]`: the commands of each stage, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// See [`HookStage::PreStart`].
    pub pre_start: Vec<Argv>,
    /// See [`HookStage::PostStart`].
    pub post_start: Vec<Argv>,
    /// See [`HookStage::PreStop`].
    pub pre_stop: Vec<Argv>,
    /// See [`HookStage::PostStop`].
    pub post_stop: Vec<Argv>,
    /// See [`HookStage::OnFailure`].
    pub on_failure: Vec<Argv>,
}

impl Hooks {
    /// The most commands of one stage.
    pub const MAX: usize = 16;

    /// The commands of a stage.
    pub fn of(&self, stage: HookStage) -> &[Argv] {
        match stage {
            HookStage::PreStart => &self.pre_start,
            HookStage::PostStart => &self.post_start,
            HookStage::PreStop => &self.pre_stop,
            HookStage::PostStop => &self.post_stop,
            HookStage::OnFailure => &self.on_failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_a_program_with_its_path() {
        let new = |words: &[&str]| Argv::new(words.iter().map(ToString::to_string).collect());
        let argv = new(&["/bin/test", "-e", ""]).unwrap();
        assert_eq!((argv.program(), argv.len()), ("/bin/test", 3));
        assert_eq!(argv.arguments(), ["-e", ""]);
        assert_eq!(argv.to_string(), "/bin/test -e ");
        let long = |words| [&["/bin/true"][..], &vec!["x"; words - 1]].concat();
        assert!(new(&long(Argv::MAX)).is_ok());
        for (words, error) in [
            (vec![], ArgvError::Empty),
            (vec![""], ArgvError::NotAbsolute),
            (vec!["test", "-e"], ArgvError::NotAbsolute),
            (long(Argv::MAX + 1), ArgvError::TooMany),
            (vec!["/bin/test", "a\0b"], ArgvError::Nul),
        ] {
            assert_eq!(new(&words), Err(error), "{words:?}");
        }
    }

    #[test]
    fn each_stage_has_its_commands() {
        let command = |stage: HookStage| vec![Argv::new(vec![format!("/{stage}")]).unwrap()];
        let hooks = Hooks {
            pre_start: command(HookStage::PreStart),
            post_start: command(HookStage::PostStart),
            pre_stop: command(HookStage::PreStop),
            post_stop: command(HookStage::PostStop),
            on_failure: command(HookStage::OnFailure),
        };
        for stage in HookStage::ALL {
            assert_eq!(hooks.of(stage), command(stage));
        }
    }
}
