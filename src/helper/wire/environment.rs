//! What the VServer kernel tells vshelper in environment variables: bounded, checked, never interpreted.

use std::collections::BTreeMap;

use crate::model::name::shown;

/// The most variables a request carries.
const VARIABLES_MAX: usize = 16;
/// The longest name of a variable, in bytes.
const NAME_MAX: usize = 64;
/// The longest value of a variable, in bytes.
const VALUE_MAX: usize = 128;

/// Why a variable is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// There are too many.
    #[error("it holds more than {max} variables")]
    TooMany {
        /// The most that is allowed.
        max: usize,
    },
    /// A name is not one.
    #[error(
        "\"{shown}\" is no variable's name; allowed are at most {max} capital letters, digits and \"_\", not starting \
         with a digit"
    )]
    BadName {
        /// The beginning of the name.
        shown: String,
        /// The longest that is allowed.
        max: usize,
    },
    /// A value is too long or not printable.
    #[error("the value of {name} is refused; allowed are at most {max} printable ASCII characters")]
    BadValue {
        /// Whose value.
        name: String,
        /// The longest that is allowed.
        max: usize,
    },
}

/// Environment variables of a request: at most 16, each name at most 64 bytes of `[A-Z0-9_]`, each value at most 128
/// bytes of printable ASCII. With these bounds a request always fits into a packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Checks and takes variables.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the rule that is broken.
    pub fn checked(variables: BTreeMap<String, String>) -> Result<Self, EnvironmentError> {
        let mut environment = Self::default();
        for (name, value) in variables {
            environment.insert(name, value)?;
        }
        Ok(environment)
    }

    /// Checks and takes one more variable.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the rule that is broken; nothing has changed then.
    pub fn insert(&mut self, name: String, value: String) -> Result<(), EnvironmentError> {
        let capital = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let starts_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !starts_well || name.len() > NAME_MAX || !name.bytes().all(capital) {
            return Err(EnvironmentError::BadName { shown: shown(&name), max: NAME_MAX });
        }
        if value.len() > VALUE_MAX || !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(EnvironmentError::BadValue { name, max: VALUE_MAX });
        }
        if self.0.len() >= VARIABLES_MAX && !self.0.contains_key(&name) {
            return Err(EnvironmentError::TooMany { max: VARIABLES_MAX });
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variables by name.
    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}
