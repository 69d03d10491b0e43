//! `org.guestd1.Job`, at `/org/guestd1/job/ID`.

use std::{collections::BTreeMap, sync::Arc};

use zbus::{Connection, fdo, interface, message::Header};

use super::{authorisation::Call, context::Context, errors::Error, value};
use crate::model::{JobId, status::JobStatus};

/// A job's object. It holds no state of the job: that is read from the newest snapshot.
#[derive(Debug)]
pub struct JobObject {
    context: Arc<Context>,
    id: JobId,
    /// Shows this moment instead of the newest one: to find out what changed between two.
    moment: Option<Arc<JobStatus>>,
}

impl JobObject {
    /// The object that is exported.
    pub fn new(context: Arc<Context>, id: JobId) -> Self {
        Self { context, id, moment: None }
    }

    /// The object as it was at one moment.
    pub fn at(context: Arc<Context>, moment: Arc<JobStatus>) -> Self {
        Self { context, id: moment.id, moment: Some(moment) }
    }

    fn status(&self) -> fdo::Result<Arc<JobStatus>> {
        let newest = || self.context.snapshot().jobs.get(&self.id).cloned();
        let gone = || fdo::Error::UnknownObject(format!("job {} is forgotten", self.id));
        self.moment.clone().or_else(newest).ok_or_else(gone)
    }
}

#[interface(name = "org.guestd1.Job", introspection_docs = false)]
impl JobObject {
    async fn cancel(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.context.cancel(Call { header: &header, connection }, self.id).await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u32 {
        self.id.0
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn verb(&self) -> fdo::Result<String> {
        Ok(self.status()?.verb.to_string())
    }

    #[zbus(property)]
    fn state(&self) -> fdo::Result<String> {
        Ok(self.status()?.state.to_string())
    }

    #[zbus(property)]
    fn progress(&self) -> fdo::Result<(u32, u32)> {
        let status = self.status()?;
        Ok((status.done, status.total))
    }

    #[zbus(property, name = "Status")]
    fn status_text(&self) -> fdo::Result<String> {
        Ok(value::text(&self.status()?.status))
    }

    #[zbus(property)]
    fn results(&self) -> fdo::Result<BTreeMap<String, String>> {
        let status = self.status()?;
        Ok(status
            .results
            .iter()
            .map(|(name, outcome)| (name.to_string(), value::text(&outcome.to_string())))
            .collect())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn started(&self) -> fdo::Result<u64> {
        Ok(self.status()?.started.0)
    }

    #[zbus(property)]
    fn ended(&self) -> fdo::Result<u64> {
        Ok(self.status()?.ended.unwrap_or_default().0)
    }
}
