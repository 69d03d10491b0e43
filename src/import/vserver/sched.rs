//! `sched`, or the older `schedule`: the token bucket, as far as cgroups have something like it.

use crate::{
    import::{Layer, Sourced, findings::source},
    model::{Amount, Origin, Resource},
};

use super::{number, reading::Reading, tree::Line};

/// Hundredths of a percent in a whole processor.
const WHOLE: u64 = 10_000;

/// The shares of the processors.
pub(super) fn read(reading: &mut Reading<'_>, layer: &mut Layer) {
    const RATE: &str = "a number of tokens, such as 30";
    const BIAS: &str = "a number from -20 to 19, such as 5";
    let natural = |text: &str| number::unsigned(text).filter(|number| *number > 0);
    let mut rate = reading.value("sched/fill-rate", RATE, natural);
    let mut interval = reading.value("sched/interval", "a number of ticks, such as 100", natural);
    let mut bias = reading.value("sched/prio-bias", BIAS, |text| number::signed(text, -20..=19));
    if !reading.has("sched")
        && let [fill, every, .., last] = reading.lines("schedule").as_slice()
    {
        rate = taken(reading, fill, RATE, natural);
        interval = taken(reading, every, "a number of ticks, such as 100", natural);
        bias = taken(reading, last, BIAS, |text| number::signed(text, -20..=19));
    }
    quota(reading, rate, interval, layer);
    if let Some(bias) = bias {
        weight(reading, &bias, layer);
    }
}

fn taken<T>(
    reading: &mut Reading<'_>,
    line: &Line,
    wanted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<Sourced<T>> {
    let value = read(&line.text).map(|value| Sourced::new(value, line.origin.clone()));
    if value.is_none() {
        reading.error(&line.origin, || format!("\"{}\" is ignored; write {wanted}", source(&line.text)));
    }
    value
}

/// A rate of tokens is a part of one processor.
fn quota(
    reading: &mut Reading<'_>,
    rate: Option<Sourced<u64>>,
    interval: Option<Sourced<u64>>,
    layer: &mut Layer,
) {
    let lonely = |reading: &mut Reading<'_>, origin: &Origin, other: &str| {
        reading.warning(origin, || format!("this has no effect without sched/{other}; write that too"));
    };
    match (rate, interval) {
        (Some(rate), Some(interval)) => {
            let part = rate.value.saturating_mul(WHOLE) / interval.value;
            let part = u32::try_from(part.max(1)).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
            reading.note(&rate.origin, || {
                format!(
                    "a guest's tokens become CPUQuota={}, of one processor and always kept; write [resources] CPUQuota \
                     in its overlay for more",
                    Amount::Processor(part)
                )
            });
            layer.resources.insert(Resource::CpuQuota, rate.map(|_| Amount::Processor(part)));
        }
        (Some(rate), None) => lonely(reading, &rate.origin, "interval"),
        (None, Some(interval)) => lonely(reading, &interval.origin, "fill-rate"),
        (None, None) => {}
    }
}

/// One step of priority is worth a quarter, as one of nice is (sched(7)).
fn weight(reading: &mut Reading<'_>, bias: &Sourced<i32>, layer: &mut Layer) {
    let weight = (100.0 * 1.25_f64.powi(-bias.value)).round().clamp(1.0, 10_000.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is within 1 and 10000.
    let weight = weight as u64;
    reading.note(&bias.origin, || {
        format!("a priority beside others' becomes CPUWeight={weight}, which is about the same")
    });
    layer.resources.insert(Resource::CpuWeight, bias.clone().map(|_| Amount::Number(weight)));
}
