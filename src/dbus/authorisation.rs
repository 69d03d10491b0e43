//! Who may act: root always, others as polkit says, one check for each guest concerned.
//!
//! Reading is free and asks nobody. Where no polkit answers on the bus, only root acts.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::StreamExt;
use zbus::{
    Connection,
    fdo::DBusProxy,
    message::{Flags, Header},
    names::BusName,
    proxy::CacheProperties,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::errors::Error;
use crate::model::{
    GuestName, Verb,
    status::{GuestStatus, Snapshot},
};

/// The bus name of polkit's authority.
pub const POLKIT: &str = "org.freedesktop.PolicyKit1";

/// A polkit action of `units/org.guestd1.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Bring guests up.
    Start,
    /// Stop and kill them.
    Stop,
    /// Reboot and restart them.
    Reboot,
    /// Freeze and thaw them.
    Freeze,
    /// Hold them, release them, forget their failures.
    Manage,
    /// Run programs in them, and use their consoles.
    Attach,
    /// Report what guests asked for themselves.
    Helper,
    /// Read settings and guests again.
    Reload,
}

impl Permission {
    /// The name of the polkit action.
    pub fn action(self) -> &'static str {
        match self {
            Self::Start => "org.guestd1.start",
            Self::Stop => "org.guestd1.stop",
            Self::Reboot => "org.guestd1.reboot",
            Self::Freeze => "org.guestd1.freeze",
            Self::Manage => "org.guestd1.manage",
            Self::Attach => "org.guestd1.attach",
            Self::Helper => "org.guestd1.helper",
            Self::Reload => "org.guestd1.reload",
        }
    }
}

impl From<Verb> for Permission {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Start => Self::Start,
            Verb::Stop | Verb::Kill => Self::Stop,
            Verb::Reboot | Verb::Restart => Self::Reboot,
            Verb::Freeze | Verb::Thaw => Self::Freeze,
            Verb::Reset | Verb::Hold | Verb::Release => Self::Manage,
        }
    }
}

/// How the user behind a call is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// A message bus vouches for each sender.
    OnBus,
    /// One peer, at the other end of a connection of its own, with this user id.
    Peer {
        /// The user id.
        uid: u32,
    },
}

/// One call: its header, and the connection it came by.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The header of the message.
    pub header: &'a Header<'a>,
    /// Where it came from.
    pub connection: &'a Connection,
}

/// Decides who may act.
#[derive(Debug)]
pub struct Authorisation {
    callers: Callers,
    polkit: AtomicBool,
}

impl Authorisation {
    /// Knows nothing of polkit until [`Authorisation::look`] has looked.
    pub fn new(callers: Callers) -> Self {
        Self { callers, polkit: AtomicBool::new(false) }
    }

    /// Who may act, as one word: `polkit`, or `root-only` where no polkit answers.
    pub fn word(&self) -> &'static str {
        if self.polkit.load(Ordering::Relaxed) { "polkit" } else { "root-only" }
    }

    /// Looks whether a polkit runs or would be started when asked; starts none. Says whether that is news.
    ///
    /// # Errors
    /// [`zbus::Error`] when the bus does not answer.
    pub async fn look(&self, connection: &Connection) -> zbus::Result<bool> {
        let found = match self.callers {
            Callers::Peer { .. } => false,
            Callers::OnBus => {
                let bus = bus(connection).await?;
                bus.name_has_owner(POLKIT.try_into()?).await?
                    || bus.list_activatable_names().await?.iter().any(|name| name.as_str() == POLKIT)
            }
        };
        Ok(self.polkit.swap(found, Ordering::Relaxed) != found)
    }

    /// The user who calls. Root is never asked for more.
    ///
    /// # Errors
    /// [`Error::NotAuthorized`] when the sender is already gone.
    pub async fn uid(&self, call: Call<'_>) -> Result<u32, Error> {
        Ok(match self.callers {
            Callers::Peer { uid } => uid,
            Callers::OnBus => {
                let Some(sender) = call.header.sender() else {
                    return Err(Error::NotAuthorized("the call has no sender".into()));
                };
                let sender = BusName::from(sender.clone());
                let answer = bus(call.connection).await?.get_connection_unix_user(sender).await;
                answer.map_err(|error| {
                    Error::NotAuthorized(format!("the caller is not known to the bus: {error}"))
                })?
            }
        })
    }

    /// Waits until the caller has left the bus. For a peer of a connection of its own that is the connection's end.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    pub async fn leaves(&self, call: Call<'_>) -> zbus::Result<()> {
        let Some(sender) = call.header.sender().filter(|_| self.callers == Callers::OnBus) else {
            call.connection.closed().await;
            return Ok(());
        };
        let bus = bus(call.connection).await?;
        let mut changes = bus.receive_name_owner_changed_with_args(&[(0, sender.as_str())]).await?;
        // It may have left before anybody listened.
        if bus.name_has_owner(sender.clone().into()).await? {
            // Its unique name is never anybody's again.
            changes.next().await;
        }
        Ok(())
    }

    /// Checks that a caller other than root may do this to each of these guests; any refusal refuses all. Without
    /// guests, one check is made that names none.
    ///
    /// # Errors
    /// [`Error::NotAuthorized`] names the guest and the polkit action.
    pub async fn check(
        &self,
        call: Call<'_>,
        permission: Permission,
        snapshot: &Snapshot,
        guests: &[GuestName],
    ) -> Result<(), Error> {
        self.look(call.connection).await?;
        if !self.polkit.load(Ordering::Relaxed) {
            return Err(refused(permission, None, "no polkit answers on this bus, so only root may act"));
        }
        let authority =
            AuthorityProxy::builder(call.connection).cache_properties(CacheProperties::No).build().await?;
        let subject = Subject::new_for_message_header(call.header)
            .map_err(|error| refused(permission, None, &error.to_string()))?;
        if guests.is_empty() {
            return ask(&authority, &subject, call, permission, None).await;
        }
        for name in guests {
            let guest = snapshot.guests.get(name).map(|guest| &**guest);
            ask(&authority, &subject, call, permission, Some((name, guest))).await?;
        }
        Ok(())
    }
}

/// Asks polkit once.
async fn ask(
    authority: &AuthorityProxy<'_>,
    subject: &Subject,
    call: Call<'_>,
    permission: Permission,
    about: Option<(&GuestName, Option<&GuestStatus>)>,
) -> Result<(), Error> {
    let groups = about.and_then(|(_, status)| status).map(groups).unwrap_or_default();
    let mut details = HashMap::new();
    if let Some((name, _)) = about {
        details.insert("guest", name.as_str());
        details.insert("groups", groups.as_str());
    }
    let interactive = call.header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let flags = if interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::empty()
    };
    let guest = about.map(|(name, _)| name);
    let answer = authority.check_authorization(subject, permission.action(), &details, flags, "").await;
    match answer {
        Ok(answer) if answer.is_authorized => Ok(()),
        Ok(answer) if answer.is_challenge && !interactive => {
            Err(refused(permission, guest, "it needs a password, and the call did not allow to ask for one"))
        }
        Ok(answer) if answer.is_challenge => {
            Err(refused(permission, guest, "it needs a password, and no polkit agent asked for one"))
        }
        Ok(_) => Err(refused(permission, guest, "polkit refused it")),
        Err(error) => Err(refused(permission, guest, &format!("polkit did not answer: {error}"))),
    }
}

fn groups(status: &GuestStatus) -> String {
    status.groups.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(",")
}

fn refused(permission: Permission, guest: Option<&GuestName>, why: &str) -> Error {
    let action = permission.action();
    Error::NotAuthorized(match guest {
        Some(guest) => format!("guest {guest}: not authorised for {action}: {why}"),
        None => format!("not authorised for {action}: {why}"),
    })
}

/// The bus itself.
pub(super) async fn bus(connection: &Connection) -> zbus::Result<DBusProxy<'static>> {
    DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await
}
