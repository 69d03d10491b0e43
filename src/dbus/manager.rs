//! `org.guestd1.Manager`, at `/org/guestd1`.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::oneshot;
use zbus::{
    Connection, ObjectPath, OwnedFd, OwnedObjectPath, interface, message::Header,
    object_server::SignalEmitter,
};

use super::{
    attach::{self, AttachRequest},
    authorisation::Call,
    context::Context,
    describe::{Counts, Host},
    errors::Error,
    options::{self, BulkRequest, GuestRequest, Options},
    path, value,
};
use crate::model::{Verb, status::Snapshot};

/// The manager's object.
#[derive(Debug)]
pub struct ManagerObject {
    context: Arc<Context>,
    /// Shows this moment instead of the newest one: to find out what changed between two.
    moment: Option<Arc<Snapshot>>,
}

impl ManagerObject {
    /// The object that is exported.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, moment: None }
    }

    /// The object as it was at one moment.
    pub fn at(context: Arc<Context>, moment: Arc<Snapshot>) -> Self {
        Self { context, moment: Some(moment) }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.moment.clone().unwrap_or_else(|| self.context.snapshot())
    }

    async fn operate(
        &self,
        call: Call<'_>,
        verb: Verb,
        name: &str,
        options: &Options,
    ) -> Result<OwnedObjectPath, Error> {
        let request = GuestRequest::parse(verb, options)?;
        let guest = self.context.guest(name)?;
        self.context.operate(call, verb, guest, request).await
    }
}

/// Methods begin with what the arguments mean; each answers with a job, at once.
#[interface(name = "org.guestd1.Manager", introspection_docs = false)]
impl ManagerObject {
    #[zbus(out_args("job"))]
    async fn autostart(
        &self,
        action: &str,
        groups: Vec<String>,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        let request = BulkRequest::parse(action, &groups, &options)?;
        self.context.autostart(Call { header: &header, connection }, request).await
    }

    #[zbus(out_args("steps"))]
    async fn plan(
        &self,
        action: &str,
        groups: Vec<String>,
        options: Options,
    ) -> Result<Vec<(u32, String, u64, String)>, Error> {
        let request = BulkRequest::parse(action, &groups, &options)?;
        let outlook = self.context.plan(request).await?;
        Ok(outlook
            .steps
            .into_iter()
            .map(|s| (s.wave, s.guest.to_string(), value::micros(s.delay), value::text(&s.reason)))
            .collect())
    }

    #[zbus(out_args("refused"))]
    async fn refusals(
        &self,
        action: &str,
        groups: Vec<String>,
        options: Options,
    ) -> Result<Vec<(String, String)>, Error> {
        let request = BulkRequest::parse(action, &groups, &options)?;
        let refused = self.context.plan(request).await?.refused;
        Ok(refused.into_iter().map(|(guest, reason)| (guest.to_string(), value::text(&reason))).collect())
    }

    #[zbus(out_args("job"))]
    async fn start(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Start, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn stop(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Stop, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn restart(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Restart, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn reboot(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Reboot, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn kill(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Kill, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn freeze(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Freeze, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn thaw(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Thaw, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn reset(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Reset, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn hold(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Hold, name, &options).await
    }

    #[zbus(out_args("job"))]
    async fn release(
        &self,
        name: &str,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Release, name, &options).await
    }

    #[zbus(out_args("guests"))]
    fn list_guests(&self) -> Vec<(String, ObjectPath<'static>)> {
        self.snapshot().guests.keys().map(|name| (name.to_string(), path::of_guest(name))).collect()
    }

    #[zbus(out_args("guest"))]
    fn get_guest(&self, name: &str) -> Result<ObjectPath<'static>, Error> {
        self.context.guest(name).map(|name| path::of_guest(&name))
    }

    #[zbus(out_args("jobs"))]
    fn list_jobs(&self) -> Vec<(u32, ObjectPath<'static>)> {
        self.snapshot().jobs.keys().map(|id| (id.0, path::of_job(*id))).collect()
    }

    #[zbus(out_args("json"))]
    fn describe(&self) -> Result<String, Error> {
        let snapshot = self.snapshot();
        value::json(&Host::new(&snapshot, self.context.authorisation().word()))
    }

    #[zbus(out_args("diagnostics"))]
    fn diagnostics(&self) -> Vec<(String, String, String, u32, String)> {
        let daemon = self.snapshot().daemon.clone();
        let row = |found: &crate::model::Diagnostic| {
            let guest = found.guest.as_ref().map(ToString::to_string).unwrap_or_default();
            let line = found.origin.line.unwrap_or_default();
            let file = value::path(&found.origin.file);
            (found.severity.to_string(), guest, file, line, value::text(&found.message))
        };
        daemon.diagnostics.iter().map(row).collect()
    }

    #[zbus(out_args("end", "status"))]
    #[allow(clippy::too_many_arguments, reason = "the arguments of the call, and three of zbus")]
    async fn attach(
        &self,
        name: &str,
        command: Vec<String>,
        options: Options,
        stdio: Vec<OwnedFd>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(&'static str, i32), Error> {
        let request = AttachRequest::parse(command, &options, stdio)?;
        let guest = self.context.guest(name)?;
        // Only the caller waits for it.
        let emitter = match header.sender() {
            Some(sender) => emitter.set_destination(sender.clone().into()),
            None => emitter,
        };
        let told = async |begun: oneshot::Receiver<()>| match begun.await {
            Ok(()) => Self::attached(&emitter, guest.as_str()).await,
            Err(_) => Ok(()),
        };
        let (begun, has_begun) = oneshot::channel();
        let run = self.context.attach(Call { header: &header, connection }, guest.clone(), request, begun);
        let (end, told) = tokio::join!(run, told(has_begun));
        if let Err(error) = told {
            tracing::debug!(%error, "nobody was told that a session has begun");
        }
        Ok(attach::end(end?))
    }

    #[zbus(signal)]
    async fn attached(emitter: &SignalEmitter<'_>, guest: &str) -> zbus::Result<()>;

    #[zbus(out_args("decision", "reason"))]
    async fn report(
        &self,
        name: &str,
        event: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(&'static str, String), Error> {
        let guest = self.context.guest(name)?;
        let event = options::event(event)?;
        let answer = self.context.report(Call { header: &header, connection }, guest, event).await?;
        Ok((answer.decision.as_str(), value::text(&answer.reason)))
    }

    #[zbus(out_args("usage"))]
    async fn usage(&self, guests: Vec<String>) -> Result<HashMap<String, attach::Numbers>, Error> {
        let used = self.context.usage(&guests).await?;
        Ok(used.into_iter().map(|(name, usage)| (name.to_string(), attach::numbers(&usage))).collect())
    }

    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.context.reload(Call { header: &header, connection }).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn launcher(&self) -> String {
        value::text(&self.snapshot().daemon.launcher)
    }

    #[zbus(property)]
    fn authorization(&self) -> &'static str {
        self.context.authorisation().word()
    }

    #[zbus(property)]
    fn order(&self) -> String {
        self.snapshot().daemon.order.to_string()
    }

    #[zbus(property)]
    fn max_starting(&self) -> u32 {
        self.snapshot().daemon.max_starting
    }

    #[zbus(property)]
    fn held_back(&self) -> String {
        self.snapshot().daemon.held_back.clone().unwrap_or_default()
    }

    #[zbus(property)]
    fn lxc_paths(&self) -> Vec<String> {
        self.snapshot().daemon.lxcpaths.iter().map(|path| value::path(path)).collect()
    }

    #[zbus(property)]
    fn guests_total(&self) -> u32 {
        Counts::of(&self.snapshot()).total
    }

    #[zbus(property)]
    fn guests_up(&self) -> u32 {
        Counts::of(&self.snapshot()).up
    }

    #[zbus(property)]
    fn guests_failed(&self) -> u32 {
        Counts::of(&self.snapshot()).failed
    }
}
