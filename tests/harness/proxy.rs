//! A port that forwards to another one, as a container engine's published port does.
//!
//! Invariants: it counts the connections that came through; nothing comes through before there is a target. Dropping it ends the
//! listener; a connection ends with either side of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    target: OnceLock<String>,
    ended: AtomicBool,
    forwarded: AtomicU64,
}

impl Proxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let address = listener.local_addr().expect("a bound address").to_string();
        let shared: Arc<Shared> = Arc::default();
        let of_thread = shared.clone();
        let listener = std::thread::spawn(move || {
            for inside in listener.incoming().map_while(Result::ok) {
                if of_thread.ended.load(Ordering::Relaxed) {
                    break;
                }
                let Some(target) = of_thread.target.get() else { continue };
                let Ok(outside) = TcpStream::connect(target) else { continue };
                of_thread.forwarded.fetch_add(1, Ordering::Relaxed);
                forward(&inside, &outside);
            }
        });
        Self { address, shared, listener: Some(listener) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Once.
    pub fn forward_to(&self, target: &str) {
        self.shared.target.set(target.to_owned()).expect("the first target");
    }

    /// Connections that came through so far.
    pub fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::Relaxed)
    }
}

fn forward(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let _ = from.set_nodelay(true);
        let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
        std::thread::spawn(move || {
            let mut piece = [0; 64 * 1024];
            while let Ok(bytes @ 1..) = from.read(&mut piece) {
                if to.write_all(&piece[..bytes]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}
