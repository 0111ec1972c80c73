//! One connection of the admin port: a request, its answer, the next one.
//!
//! Invariants: at most `ADMIN_HEAD_BYTES_MAX` and what one receive adds are kept of what a peer sends; a silent or slow
//! peer is closed in time; the broker's end closes all. On failure: the connection ends.

use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::limits::{
    ADMIN_HEAD_SECS_MAX, ADMIN_IDLE_SECS_MAX, ADMIN_SEND_ROUND_BYTES_MAX, SEND_STALL_SECS_MAX,
};
use ringmq_io::{Chunk, Env, Stream, deadline};
use ringmq_transport::{ExtentOf, StreamOf};

use super::http::{Get, Head, Status, answer_head, read_head};
use super::{Admin, Page};

pub(super) async fn run<E: Env>(admin: &Admin<E>, stream: StreamOf<E>) {
    let stop = &admin.control.core.lifecycle.stop;
    answer_requests(admin, &stream).or(stop.wait()).await;
    stream.close();
}

async fn answer_requests<E: Env>(admin: &Admin<E>, stream: &StreamOf<E>) {
    let env = &admin.control.core.env;
    let mut received = Vec::new();
    loop {
        let request = match next_request(env, stream, &mut received).await {
            Some(Ok(request)) => request,
            Some(Err(status)) => {
                let page = Page::plain(status, format!("{}\n", status.line()));
                if send(env, stream, page, false, false).await.is_some() {
                    wait_for_the_end(env, stream).await;
                }
                return;
            }
            None => return,
        };
        let page = admin.page(&request.path).await;
        if send(env, stream, page, request.head_only, request.keep).await.is_none() {
            return;
        }
        if !request.keep {
            if !received.is_empty() {
                wait_for_the_end(env, stream).await;
            }
            return;
        }
    }
}

/// `None`: the peer is gone, or was silent for too long.
async fn next_request<E: Env>(
    env: &E,
    stream: &StreamOf<E>,
    received: &mut Vec<u8>,
) -> Option<Result<Get, Status>> {
    let mut limit = Duration::from_secs(ADMIN_IDLE_SECS_MAX);
    let mut began = None;
    loop {
        match read_head(received) {
            Head::Request(get) => {
                received.drain(..get.bytes);
                return Some(Ok(get));
            }
            Head::Refused(status) => return Some(Err(status)),
            Head::Partial => {}
        }
        if !received.is_empty() {
            // The whole head, however slowly it trickles in.
            let since = *began.get_or_insert(env.monotonic_ns());
            let spent = Duration::from_nanos(env.monotonic_ns() - since);
            limit = Duration::from_secs(ADMIN_HEAD_SECS_MAX).checked_sub(spent)?;
        }
        let more = deadline(env, limit, stream.recv()).await.ok()?.ok()??;
        received.extend_from_slice(&more);
    }
}

/// `None`: the peer is gone, or takes nothing.
async fn send<E: Env>(env: &E, stream: &StreamOf<E>, page: Page, head_only: bool, keep: bool) -> Option<()> {
    let head = answer_head(page.status, page.content_type, page.body.len(), keep);
    let body = if head_only { Vec::new() } else { page.body.into_pieces() };
    let mut round: Vec<Chunk<ExtentOf<E>>> = vec![Chunk::Owned(head)];
    let mut bytes = 0;
    let limit = Duration::from_secs(SEND_STALL_SECS_MAX);
    for piece in body {
        bytes += piece.len();
        round.push(Chunk::Owned(piece));
        if bytes >= ADMIN_SEND_ROUND_BYTES_MAX {
            deadline(env, limit, stream.send(&mut round)).await.ok()?.ok()?;
            bytes = 0;
        }
    }
    if !round.is_empty() {
        deadline(env, limit, stream.send(&mut round)).await.ok()?.ok()?;
    }
    Some(())
}

/// A socket that is closed with unread bytes resets the connection, and the peer's kernel drops the answer.
async fn wait_for_the_end<E: Env>(env: &E, stream: &StreamOf<E>) {
    let peer_ends = async { while matches!(stream.recv().await, Ok(Some(_))) {} };
    let _ = deadline(env, Duration::from_secs(1), peer_ends).await;
}
