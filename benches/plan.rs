//! How long a plan takes for 10,000 guests of several shapes. The budget is 50 ms for each.

mod shapes;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use guestd::{
    model::{Action, GuestName, Order},
    plan,
};

fn plans(criterion: &mut Criterion) {
    for (shape, guests) in shapes::all() {
        let selection = &shapes::selection(shape);
        for (action, up) in [(Action::Start, false), (Action::Shutdown, true)] {
            criterion.bench_function(&format!("{action}/{shape}"), |bencher| {
                bencher.iter(|| {
                    let runs = |_: &GuestName| up;
                    let standing = plan::Standing::free(&runs);
                    plan::autostart(black_box(&guests), selection, action, Order::HighestFirst, standing)
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = plans
}
criterion_main!(benches);
