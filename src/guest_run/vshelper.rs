//! For guests in the manner of Linux-VServer: their helper is called as the kernel called it.

use std::{
    path::Path,
    process::{self, Command},
};

use super::spec::Spec;

/// Where the package of the helper puts it.
const USUAL: &str = "/sbin/vshelper";

/// The command that tells a guest's event: `restart` or `halt`, with the guest's context, and the environment that the kernel
/// gave (kernel/vserver/helper.c, `vs_reboot_helper`).
pub fn command(spec: &Spec, program: Option<&Path>, context: u32, event: &str) -> Command {
    let own = spec.helper.first().map(|path| path.as_path());
    let usual = Some(Path::new(USUAL)).filter(|path| path.exists());
    let program = program.or(usual).or(own).unwrap_or(Path::new(USUAL));
    let (word, number) = match event {
        // LINUX_REBOOT_CMD_RESTART and LINUX_REBOOT_CMD_HALT (reboot(2)).
        "reboot" => ("restart", 0x0123_4567_u32),
        _ => ("halt", 0xCDEF_0123),
    };
    let mut command = Command::new(program);
    command
        .args([word, &context.to_string()])
        .env_clear()
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
        .env("VS_CMD", format!("{number:08x}"))
        .env("VS_UID", "0")
        .env("VS_PID", "1")
        // So that our own dialect knows the guest without the kernel, and that its exit status is an answer.
        .env("GUESTD_GUEST", spec.guest.as_str())
        .env("GUESTD_MONITOR", process::id().to_string());
    command
}
