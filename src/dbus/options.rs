//! The arguments of methods: `a{sv}` options and words, parsed once and strictly.

use std::{collections::HashMap, path::PathBuf};

use zbus::{OwnedVariant, Variant};

use super::errors::Error;
use crate::{
    daemon::handle::{Selection, StopWait},
    helper::wire::Event,
    model::{Action, GroupName, HoldWish, Timestamp, Verb, name::shown},
};

/// Options as they arrive.
pub type Options = HashMap<String, OwnedVariant>;

/// The most groups of one request: anybody may ask for a plan.
const GROUPS_MAX: usize = 256;

/// What `Autostart` and `Plan` are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRequest {
    /// What to do.
    pub action: Action,
    /// With whom.
    pub selection: Selection,
    /// For shutdown.
    pub wait: StopWait,
}

impl BulkRequest {
    /// Reads the arguments of `Autostart` and `Plan`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the argument or option that cannot be used.
    pub fn parse(action: &str, groups: &[String], options: &Options) -> Result<Self, Error> {
        let action = Action::parse(action).ok_or_else(|| {
            invalid(format!(
                "action \"{}\" is unknown; known are start, shutdown, kill and reboot",
                shown(action)
            ))
        })?;
        if groups.len() > GROUPS_MAX {
            let count = groups.len();
            return Err(invalid(format!(
                "argument \"groups\" has {count} elements; at most {GROUPS_MAX} are taken"
            )));
        }
        let mut request = Self {
            action,
            selection: Selection {
                groups: groups.iter().map(|text| group(text)).collect::<Result<_, _>>()?,
                ..Default::default()
            },
            wait: StopWait::default(),
        };
        for (key, value) in options {
            request.set(key, value)?;
        }
        request.check_boot()?;
        Ok(request)
    }

    /// The boot groups are the settings' own, and are started.
    fn check_boot(&self) -> Result<(), Error> {
        let Selection { groups, all, boot, .. } = &self.selection;
        let contradictions = [
            (self.action != Action::Start, format!("action \"{}\"", self.action)),
            (*all, "option \"all\"".into()),
            (!groups.is_empty(), "argument \"groups\"".into()),
        ];
        match contradictions.into_iter().find(|(given, _)| *boot && *given) {
            Some((_, other)) => Err(invalid(format!(
                "option \"boot\" starts the boot groups of the settings; it cannot be used with {other}"
            ))),
            None => Ok(()),
        }
    }

    fn set(&mut self, key: &str, value: &Variant<'_>) -> Result<(), Error> {
        match key {
            "boot" => self.selection.boot = boolean(key, value)?,
            "all" => self.selection.all = boolean(key, value)?,
            "ignore-auto" => self.selection.ignore_auto = boolean(key, value)?,
            "lxcpath" => self.selection.lxcpath = Some(PathBuf::from(string(key, value)?)),
            "timeout" => self.wait = timeout(key, value)?,
            _ => return Err(unknown(key, "boot, all, ignore-auto, lxcpath and timeout")),
        }
        Ok(())
    }
}

/// The options of a request about one guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuestRequest {
    /// For stop and restart.
    pub wait: StopWait,
    /// For hold: why, and until when.
    pub hold: HoldWish,
}

/// The longest reason of a hold, in bytes: it is shown in lists and kept on disk.
const REASON_MAX: usize = 1024;

impl GuestRequest {
    /// Reads the options of `Start`, `Stop` and the like.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the option that cannot be used.
    pub fn parse(verb: Verb, options: &Options) -> Result<Self, Error> {
        let mut request = Self::default();
        for (key, value) in options {
            match key.as_str() {
                "timeout" => request.wait = timeout(key, value)?,
                "reason" if verb == Verb::Hold => request.hold.reason = Some(reason(key, value)?),
                "until" if verb == Verb::Hold => request.hold.until = Some(moment(key, value)?),
                _ if verb == Verb::Hold => return Err(unknown(key, "timeout, reason and until")),
                _ => return Err(unknown(key, "timeout")),
            }
        }
        Ok(request)
    }
}

/// A group as it is written on the bus: the empty string is the null group.
fn group(text: &str) -> Result<Option<GroupName>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    GroupName::new(text).map(Some).map_err(|error| invalid(format!("argument \"groups\": {error}")))
}

pub(super) fn boolean(key: &str, value: &Variant<'_>) -> Result<bool, Error> {
    match value {
        Variant::Bool(value) => Ok(*value),
        _ => Err(wrong_type(key, "a boolean (b)", value)),
    }
}

pub(super) fn string<'a>(key: &str, value: &'a Variant<'_>) -> Result<&'a str, Error> {
    match value {
        Variant::Str(value) => Ok(value.as_str()),
        _ => Err(wrong_type(key, "a string (s)", value)),
    }
}

fn timeout(key: &str, value: &Variant<'_>) -> Result<StopWait, Error> {
    match value {
        Variant::I32(seconds) => Ok(StopWait::from_seconds(*seconds)),
        _ => Err(wrong_type(key, "an integer (i), in seconds", value)),
    }
}

fn moment(key: &str, value: &Variant<'_>) -> Result<Timestamp, Error> {
    match value {
        Variant::U64(micros) => Ok(Timestamp(*micros)),
        _ => Err(wrong_type(key, "an unsigned integer (t), in microseconds since 1970", value)),
    }
}

fn reason(key: &str, value: &Variant<'_>) -> Result<String, Error> {
    let text = string(key, value)?;
    if text.len() > REASON_MAX || text.contains(char::is_control) {
        return Err(invalid(format!(
            "option \"{key}\" must be one line of at most {REASON_MAX} characters; \"{}\" is not",
            shown(text)
        )));
    }
    Ok(text.to_owned())
}

/// What a guest asked for itself.
///
/// # Errors
/// [`Error::InvalidArgument`] names the words that are known.
pub fn event(word: &str) -> Result<Event, Error> {
    Event::parse(word).ok_or_else(|| {
        invalid(format!("event \"{}\" is unknown; known: reboot, halt, poweroff, stop", shown(word)))
    })
}

pub(super) fn unknown(key: &str, known: &str) -> Error {
    invalid(format!("option \"{}\" is unknown; known: {known}", shown(key)))
}

pub(super) fn wrong_type(key: &str, wanted: &str, found: &Variant<'_>) -> Error {
    invalid(format!("option \"{key}\" must be {wanted}; it has the type \"{}\"", found.value_signature()))
}

pub(super) fn invalid(text: String) -> Error {
    Error::InvalidArgument(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options<const N: usize>(pairs: [(&str, Variant<'static>); N]) -> Options {
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v.try_into().unwrap())).collect()
    }

    #[test]
    fn a_bulk_request_takes_all_its_options() {
        let options = options([
            ("boot", false.into()),
            ("all", true.into()),
            ("ignore-auto", true.into()),
            ("lxcpath", "/srv/lxc".into()),
            ("timeout", 5i32.into()),
        ]);
        let request =
            BulkRequest::parse("shutdown", &["".into(), "web".into()], &options).expect("all of it is valid");
        let expected = Selection {
            groups: vec![None, Some(GroupName::new("web").unwrap())],
            all: true,
            ignore_auto: true,
            lxcpath: Some("/srv/lxc".into()),
            boot: false,
        };
        assert_eq!(request.action, Action::Shutdown);
        assert_eq!(request.selection, expected);
        assert_eq!(request.wait, StopWait::AtMost(Duration::from_secs(5)));
    }

    #[test]
    fn boot_starts_its_own_groups_and_nothing_else() {
        let boot = || ("boot", true.into());
        let request = BulkRequest::parse("start", &[], &options([boot(), ("ignore-auto", true.into())]));
        assert!(request.unwrap().selection.boot);
        for (action, groups, other, part) in [
            ("shutdown", &[][..], boot(), "action \"shutdown\""),
            ("kill", &[], boot(), "action \"kill\""),
            ("reboot", &[], boot(), "action \"reboot\""),
            ("start", &[], ("all", true.into()), "option \"all\""),
            ("start", &["web".to_owned()], boot(), "argument \"groups\""),
            ("start", &[String::new()], boot(), "argument \"groups\""),
        ] {
            let error = BulkRequest::parse(action, groups, &options([boot(), other])).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
            assert!(error.to_string().ends_with(&format!("it cannot be used with {part}")), "{error}");
        }
    }

    #[test]
    fn a_request_has_an_end() {
        let groups = vec!["web".to_owned(); GROUPS_MAX + 1];
        assert!(BulkRequest::parse("start", &groups[1..], &options([])).is_ok());
        let error = BulkRequest::parse("start", &groups, &options([])).unwrap_err().to_string();
        assert!(error.contains("\"groups\" has 257 elements"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let long = "x".repeat(REASON_MAX + 1);
        for (pair, part) in [
            (("bot", true.into()), "option \"bot\" is unknown; known: boot"),
            (("boot", 1i32.into()), "option \"boot\" must be a boolean (b); it has the type \"i\""),
            (("timeout", "5".into()), "option \"timeout\" must be an integer (i)"),
            (("timeout", 5u32.into()), "option \"timeout\" must be an integer (i)"),
            (("lxcpath", true.into()), "option \"lxcpath\" must be a string (s)"),
        ] {
            let error = BulkRequest::parse("start", &[], &options([pair])).unwrap_err();
            assert!(matches!(&error, Error::InvalidArgument(text) if text.starts_with(part)), "{error}");
        }
        for (pair, part) in [
            (("boot", true.into()), "option \"boot\" is unknown; known: timeout, reason and until"),
            (("until", 5i32.into()), "option \"until\" must be an unsigned integer (t), in microseconds"),
            (("reason", 3u32.into()), "option \"reason\" must be a string (s)"),
            (("reason", "two\nlines".into()), "option \"reason\" must be one line"),
            (("reason", long.into()), "option \"reason\" must be one line of at most 1024"),
        ] {
            let error = GuestRequest::parse(Verb::Hold, &options([pair])).unwrap_err();
            assert!(error.to_string().starts_with(part), "{error}");
        }
        let error = GuestRequest::parse(Verb::Stop, &options([("reason", "x".into())])).unwrap_err();
        assert_eq!(error.to_string(), "option \"reason\" is unknown; known: timeout");
        let error = BulkRequest::parse("begin", &[], &Options::new()).unwrap_err();
        assert!(error.to_string().starts_with("action \"begin\" is unknown"), "{error}");
        let error = BulkRequest::parse("start", &["a/b".into()], &Options::new()).unwrap_err();
        assert!(error.to_string().starts_with("argument \"groups\": the name \"a/b\" holds '/'"), "{error}");
    }
}
