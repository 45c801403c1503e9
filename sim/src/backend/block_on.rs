//! Running a future to its end on this thread.

use std::future::Future;
use std::pin::{Pin, pin};

use tokio::runtime::Runtime;

/// [`Runtime::block_on`], compiled once and not for each future: 27 copies of it were a twentieth of the harness's code.
pub(crate) fn block_on<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    let mut output = None;
    {
        let future: Pin<&mut dyn Future<Output = ()>> = pin!(async { output = Some(future.await) });
        runtime.block_on(future);
    }
    output.expect("the future has ended")
}
