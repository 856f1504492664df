//! What the work at hand is about. It is known all the way down without being passed on, as its span is.

use domain::ids::OrderId;
use std::cell::Cell;
use tracing::{Instrument, Span, field};

tokio::task_local! {
    static HERE: Here;
}

struct Here {
    span: Span,
    trace: Option<String>,
    order: Cell<Option<OrderId>>,
}

/// Does work inside its span, so that every line of it has what the span knows. `trace` is the id of the request that it
/// goes back to, over however many queues. The span declares `trace` and `order`.
pub async fn within<T>(span: Span, trace: Option<String>, work: impl Future<Output = T>) -> T {
    if let Some(trace) = &trace {
        span.record("trace", field::display(trace));
    }
    let here = Here { span: span.clone(), trace, order: Cell::new(None) };
    HERE.scope(here, work.instrument(span)).await
}

/// The id of the request that the work at hand goes back to, to be sent along with whatever it sets off.
pub fn trace() -> Option<String> {
    HERE.try_with(|here| here.trace.clone()).ok().flatten()
}

/// From here on the work is about this order.
pub fn about(order: OrderId) {
    // Outside of any work nobody asks.
    let _ = HERE.try_with(|here| {
        if here.order.replace(Some(order)) != Some(order) {
            here.span.record("order", field::display(order));
        }
    });
}
