//! A descriptor that the ring closes, so that an entry already queued for it cannot hit another file
//! which took its number over.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};

use crate::driver::Driver;

pub(crate) struct RingFd {
    fd: RawFd,
    driver: Weak<Driver>,
}

impl RingFd {
    pub(crate) fn new(fd: OwnedFd, driver: &Rc<Driver>) -> Self {
        Self { fd: fd.into_raw_fd(), driver: Rc::downgrade(driver) }
    }
    pub(crate) fn raw(&self) -> RawFd {
        self.fd
    }
}

impl AsFd for RingFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until `self` is dropped.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Drop for RingFd {
    fn drop(&mut self) {
        match self.driver.upgrade() {
            Some(driver) => driver.close(self.fd),
            None => crate::driver::close_now(self.fd),
        }
    }
}
