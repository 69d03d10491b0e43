//! Which kill points lie around effects, and behind what is seen.

use crate::{
    engine::{Observation, Request},
    kill_point::KillPoint,
    model::HookStage,
};

/// Before and behind hooks of a stage.
pub(super) fn around_hook(stage: HookStage) -> (KillPoint, KillPoint) {
    match stage {
        HookStage::PreStart => (KillPoint::PreStartBegins, KillPoint::PreStartEnded),
        HookStage::PostStart => (KillPoint::PostStartBegins, KillPoint::PostStartEnded),
        HookStage::PreStop => (KillPoint::PreStopBegins, KillPoint::PreStopEnded),
        HookStage::PostStop => (KillPoint::PostStopBegins, KillPoint::PostStopEnded),
        HookStage::OnFailure => (KillPoint::OnFailureBegins, KillPoint::OnFailureEnded),
    }
}

/// Before and behind a request.
pub(super) fn around_request(request: Request) -> (KillPoint, KillPoint) {
    match request {
        Request::Stop | Request::Hint => (KillPoint::StopBegins, KillPoint::StopEnded),
        Request::Reboot => (KillPoint::RebootBegins, KillPoint::RebootEnded),
        Request::Freeze => (KillPoint::FreezeBegins, KillPoint::FreezeEnded),
        Request::Thaw => (KillPoint::ThawBegins, KillPoint::ThawEnded),
    }
}

/// Behind an observation that was taken.
pub(super) fn seen(what: &Observation) -> Option<KillPoint> {
    match what {
        Observation::Running(_) => Some(KillPoint::SawRunning),
        Observation::InitExited(_) => Some(KillPoint::SawEnd),
        Observation::Gone => Some(KillPoint::SawGone),
        Observation::OutOfMemory | Observation::Frozen | Observation::Thawed | Observation::Appeared => None,
    }
}
