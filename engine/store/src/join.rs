//! A few operations under way at once.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

/// Runs a few futures at once; results in order.
pub async fn join_all<T, F: Future<Output = T>>(futures: Vec<F>) -> Vec<T> {
    let mut running: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|f| Some(Box::pin(f))).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (slot, result) in running.iter_mut().zip(&mut done) {
            if let Some(future) = slot
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *result = Some(value);
                *slot = None;
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().map(|value| value.expect("ran to its end")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn futures_run_together_and_keep_their_order() {
        let results = block_on(join_all(
            (0..5)
                .map(|i| async move {
                    for _ in i..5 {
                        futures_lite::future::yield_now().await;
                    }
                    i
                })
                .collect(),
        ));
        assert_eq!(results, [0, 1, 2, 3, 4]);
    }
}
