//! Addresses of names, by the system's resolver.
//!
//! It blocks, for as long as name servers are unreachable, so each lookup has a thread of its own and not the core's
//! blocking thread, behind which file operations would wait. Lookups are rare: one for each attempt to connect to a
//! name. A thread whose future was dropped ends when the resolver answers; the process does not wait for it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::driver::{Driver, Inbox};

type Found = io::Result<Vec<SocketAddr>>;

#[derive(Default)]
struct Lookup {
    found: Arc<Mutex<Option<Found>>>,
    waker: RefCell<Option<Waker>>,
}

impl Inbox for Lookup {
    fn look(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

pub(crate) fn start(driver: &Rc<Driver>, address: String) -> impl Future<Output = Found> + use<> {
    let lookup = Rc::new(Lookup::default());
    let weak = Rc::downgrade(&lookup);
    driver.add_inbox(weak);
    let (found, bell) = (lookup.found.clone(), driver.bell.clone());
    let started = std::thread::Builder::new().name("ringmq-lookup".into()).spawn(move || {
        crate::launch::abort_on_panic_here();
        let addresses = address.to_socket_addrs().map(Iterator::collect);
        *found.lock().expect("never poisoned: a panic aborts") = Some(addresses);
        bell.ring();
    });
    async move {
        started?;
        poll_fn(|cx| match lookup.found.lock().expect("never poisoned: a panic aborts").take() {
            Some(found) => Poll::Ready(found),
            None => {
                *lookup.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
