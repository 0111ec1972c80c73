//! Closes the batch of a turn, and tells the listener what was appended.
//!
//! Invariants: a batch that is open stays open only until the tasks that are ready now have run once, so that
//! everything they append shares one header; the listener is called from this task alone, never from within
//! another call of the shard, and only for closed batches.

use std::rc::Rc;

use ringmq_io::Env;

use crate::inner::Inner;

pub async fn run<E: Env>(inner: Rc<Inner<E>>) {
    let mut told = Vec::new();
    loop {
        if inner.is_ending() {
            return;
        }
        if !inner.tail.borrow().has_open() && inner.tail.borrow().untold.is_empty() {
            inner.opened.wait().await;
            continue;
        }
        inner.env.yield_now().await;
        {
            let mut tail = inner.tail.borrow_mut();
            inner.close_batch(&mut tail);
            std::mem::swap(&mut tail.untold, &mut told);
        }
        let listener = inner.listener.borrow().clone();
        if let Some(listen) = listener {
            listen(&told);
        }
        told.clear();
    }
}
