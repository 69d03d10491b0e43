//! All engines behind one: which of them has a guest is decided here, by the guest.

use std::sync::Arc;

use super::{
    BoxFuture, Capabilities, Engine, EngineResult, Epoch, Probe, Request, lxc::LxcEngine,
    native::NativeEngine,
};
use crate::model::{EngineKind, Guest, Resources};

/// Every engine of this host.
pub struct Engines {
    /// LXC containers.
    pub lxc: LxcEngine,
    /// Native guests.
    pub native: NativeEngine,
}

impl Engines {
    fn of(&self, guest: &Guest) -> &dyn Engine {
        match guest.engine_kind() {
            EngineKind::Lxc => &self.lxc,
            EngineKind::Native => &self.native,
        }
    }
}

impl Engine for Engines {
    /// What all of them can do.
    fn capabilities(&self) -> Capabilities {
        let (lxc, native) = (self.lxc.capabilities(), self.native.capabilities());
        Capabilities {
            reboot_in_place: lxc.reboot_in_place && native.reboot_in_place,
            freeze: lxc.freeze && native.freeze,
        }
    }

    fn start<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        self.of(guest).start(guest)
    }

    fn request<'a>(&'a self, guest: &'a Guest, request: Request) -> BoxFuture<'a, EngineResult<()>> {
        self.of(guest).request(guest, request)
    }

    fn adjust<'a>(&'a self, guest: &'a Guest, resources: &'a Resources) -> BoxFuture<'a, EngineResult<()>> {
        self.of(guest).adjust(guest, resources)
    }

    fn kill<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        self.of(guest).kill(guest)
    }

    fn probe<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<Probe>> {
        self.of(guest).probe(guest)
    }

    fn forget_end(&self, guest: &Guest) {
        self.of(guest).forget_end(guest);
    }

    fn watch(&self, guest: Arc<Guest>, epoch: Epoch) {
        self.of(&guest).watch(guest.clone(), epoch);
    }
}
