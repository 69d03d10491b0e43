//! guestd at home in a virtual machine: what a container cannot show. Debian's own kernel, all cgroup controllers, a real
//! reboot, a real power cut.

mod agent;
#[path = "../busybox/mod.rs"]
mod busybox;
#[path = "../debian/mod.rs"]
mod debian;
mod machine;

mod boot;
mod native;
mod network;
mod power;
