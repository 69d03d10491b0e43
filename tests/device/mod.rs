//! A device of the host that leads nowhere, for guests' interfaces.

use std::{path::Path, process::Command};

/// One, under a name that no other test has; gone when this is dropped.
pub struct Device(pub String);

impl Device {
    /// Makes it, and sets it up.
    pub fn new() -> Self {
        let name = format!("gdv{}", std::process::id());
        assert!(ip(&["link", "add", &name, "type", "veth"]) && ip(&["link", "set", &name, "up"]));
        Self(name)
    }

    /// Whether it is still there.
    #[allow(dead_code, reason = "each test program uses its part")]
    pub fn exists(&self) -> bool {
        Path::new("/sys/class/net").join(&self.0).exists()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        ip(&["link", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}
