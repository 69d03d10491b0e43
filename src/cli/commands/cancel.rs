//! `guestctl cancel`.

use serde_json::json;

use crate::{
    cli::{
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json},
    },
    dbus::describe::Host,
    model::JobId,
};

pub(super) async fn run(job: u32, json: bool) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    let told = bus.describe().await?;
    let Host { jobs, .. } = parse(&told)?;
    // A job that is over stays as it ended.
    let over = jobs.iter().find(|known| known.id == job && known.ended.is_some());
    if over.is_none() {
        bus.cancel(JobId(job)).await?;
    }
    if json {
        print_json(&json!({"job": job, "canceled": over.is_none()}))?;
    }
    match over {
        Some(over) => return Err(Error::JobOver { job: JobId(job), state: over.state.to_string() }),
        None if json => {}
        None => print(&format!("job {job} canceled; what it had begun goes on\n"))?,
    }
    Ok(GuestctlExit::Done)
}
