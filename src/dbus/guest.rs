//! `org.guestd1.Guest`, at `/org/guestd1/guest/NAME`.

use std::sync::Arc;

use zbus::{Connection, OwnedObjectPath, fdo, interface, message::Header};

use super::{
    authorisation::Call,
    context::Context,
    describe::{self, GuestDetails},
    errors::Error,
    options::{GuestRequest, Options},
    value,
};
use crate::model::{GuestName, Verb, status::GuestStatus};

/// A guest's object. It holds no state of the guest: that is read from the newest snapshot.
#[derive(Debug)]
pub struct GuestObject {
    context: Arc<Context>,
    name: GuestName,
    /// Shows this moment instead of the newest one: to find out what changed between two.
    moment: Option<Arc<GuestStatus>>,
}

impl GuestObject {
    /// The object that is exported.
    pub fn new(context: Arc<Context>, name: GuestName) -> Self {
        Self { context, name, moment: None }
    }

    /// The object as it was at one moment.
    pub fn at(context: Arc<Context>, moment: Arc<GuestStatus>) -> Self {
        Self { context, name: moment.name.clone(), moment: Some(moment) }
    }

    fn status(&self) -> fdo::Result<Arc<GuestStatus>> {
        let newest = || self.context.snapshot().guests.get(&self.name).cloned();
        let gone = || fdo::Error::UnknownObject(format!("guest {} is gone", self.name));
        self.moment.clone().or_else(newest).ok_or_else(gone)
    }

    async fn operate(&self, call: Call<'_>, verb: Verb, options: &Options) -> Result<OwnedObjectPath, Error> {
        let request = GuestRequest::parse(verb, options)?;
        let guest = self.context.guest(self.name.as_str())?;
        self.context.operate(call, verb, guest, request).await
    }
}

#[interface(name = "org.guestd1.Guest", introspection_docs = false)]
impl GuestObject {
    #[zbus(out_args("job"))]
    async fn start(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Start, &options).await
    }

    #[zbus(out_args("job"))]
    async fn stop(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Stop, &options).await
    }

    #[zbus(out_args("job"))]
    async fn restart(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Restart, &options).await
    }

    #[zbus(out_args("job"))]
    async fn reboot(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Reboot, &options).await
    }

    #[zbus(out_args("job"))]
    async fn kill(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Kill, &options).await
    }

    #[zbus(out_args("job"))]
    async fn freeze(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Freeze, &options).await
    }

    #[zbus(out_args("job"))]
    async fn thaw(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Thaw, &options).await
    }

    #[zbus(out_args("job"))]
    async fn reset(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Reset, &options).await
    }

    #[zbus(out_args("job"))]
    async fn hold(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Hold, &options).await
    }

    #[zbus(out_args("job"))]
    async fn release(
        &self,
        options: Options,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        self.operate(Call { header: &header, connection }, Verb::Release, &options).await
    }

    #[zbus(out_args("json"))]
    fn describe(&self) -> Result<String, Error> {
        let status = self.status().map_err(zbus::Error::from)?;
        value::json(&GuestDetails::from(&*status).among(&self.context.snapshot().guests))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.name.to_string()
    }

    #[zbus(property)]
    fn engine(&self) -> fdo::Result<String> {
        Ok(self.status()?.engine.to_string())
    }

    #[zbus(property)]
    fn phase(&self) -> fdo::Result<String> {
        Ok(self.status()?.phase.as_str().to_owned())
    }

    #[zbus(property)]
    fn intent(&self) -> fdo::Result<String> {
        Ok(describe::intent(&*self.status()?).to_owned())
    }

    #[zbus(property)]
    fn ready(&self) -> fdo::Result<bool> {
        Ok(self.status()?.ready)
    }

    #[zbus(property)]
    fn reason(&self) -> fdo::Result<String> {
        Ok(value::text(&self.status()?.reason))
    }

    #[zbus(property)]
    fn auto(&self) -> fdo::Result<String> {
        Ok(self.status()?.auto.to_string())
    }

    #[zbus(property)]
    fn order(&self) -> fdo::Result<i32> {
        Ok(self.status()?.order)
    }

    #[zbus(property)]
    fn delay(&self) -> fdo::Result<u64> {
        Ok(value::micros(self.status()?.delay))
    }

    #[zbus(property)]
    fn groups(&self) -> fdo::Result<Vec<String>> {
        Ok(value::names(&self.status()?.groups))
    }

    #[zbus(property)]
    fn after(&self) -> fdo::Result<Vec<String>> {
        Ok(value::names(&self.status()?.after))
    }

    #[zbus(property)]
    fn wants(&self) -> fdo::Result<Vec<String>> {
        Ok(value::names(&self.status()?.wants))
    }

    #[zbus(property)]
    fn requires(&self) -> fdo::Result<Vec<String>> {
        Ok(value::names(&self.status()?.requires))
    }

    #[zbus(property)]
    fn init_pid(&self) -> fdo::Result<i32> {
        Ok(self.status()?.init_pid.unwrap_or_default())
    }

    #[zbus(property)]
    fn since(&self) -> fdo::Result<u64> {
        Ok(self.status()?.since.unwrap_or_default().0)
    }

    #[zbus(property)]
    fn next_try(&self) -> fdo::Result<u64> {
        Ok(self.status()?.next_try.unwrap_or_default().0)
    }

    #[zbus(property)]
    fn restarts(&self) -> fdo::Result<u32> {
        Ok(self.status()?.restarts)
    }

    #[zbus(property)]
    fn adopted(&self) -> fdo::Result<bool> {
        Ok(self.status()?.adopted)
    }

    #[zbus(property)]
    fn held(&self) -> fdo::Result<String> {
        Ok(self.status()?.held.as_ref().map(|hold| value::text(&hold.reason)).unwrap_or_default())
    }

    #[zbus(property)]
    fn held_until(&self) -> fdo::Result<u64> {
        Ok(self.status()?.held.as_ref().and_then(|hold| hold.until).unwrap_or_default().0)
    }

    #[zbus(property)]
    fn owner(&self) -> fdo::Result<String> {
        Ok(self.status()?.owner.to_string())
    }

    #[zbus(property)]
    fn lxc_path(&self) -> fdo::Result<String> {
        Ok(self.status()?.lxcpath.as_deref().map(value::path).unwrap_or_default())
    }

    #[zbus(property)]
    fn config_changed(&self) -> fdo::Result<bool> {
        Ok(self.status()?.config_changed)
    }

    #[zbus(property)]
    fn last_helper_request(&self) -> fdo::Result<(String, String, String, u64)> {
        let status = self.status()?;
        let report = status.helper.as_ref();
        let fields =
            report.map(|r| (value::text(&r.event), r.decision.to_owned(), value::text(&r.reason), r.at.0));
        Ok(fields.unwrap_or_default())
    }
}
