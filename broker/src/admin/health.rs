//! `/healthz`: 200 while everything is accepted that a client may ask, 503 with the reasons otherwise.
//!
//! Unhealthy is what only a restart mends: a latched shard or journal, a core that does not answer. A full disk is not: it
//! is told, and passes by itself.

use std::rc::Rc;

use ringmq_io::Env;

use super::http::Status;
use super::{Page, gather};
use crate::control::Control;

pub async fn page<E: Env>(control: &Rc<Control<E>>) -> Page {
    match gather::snapshots(&control.core).await {
        Err(silent) => Page::plain(Status::Unavailable, silent + "\n"),
        Ok(snapshots) => {
            let shards = snapshots.iter().flat_map(|core| &core.shards);
            let latched = shards.filter_map(|shard| shard.latched.clone());
            let reasons: Vec<String> = latched.chain(control.journal_latched()).collect();
            verdict(&reasons, control.may_change().err().map(|refusal| refusal.remark))
        }
    }
}

/// `remark`: what is refused at the moment and will pass.
fn verdict(reasons: &[String], remark: Option<String>) -> Page {
    if reasons.is_empty() {
        return Page::plain(Status::Ok, remark.map_or("ok\n".into(), |remark| format!("ok, but {remark}\n")));
    }
    Page::plain(Status::Unavailable, reasons.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_pass_is_unhealthy() {
        let text =
            |page: Page| (page.status, String::from_utf8(page.body.into_pieces().concat()).expect("text"));
        assert_eq!(text(verdict(&[], None)), (Status::Ok, "ok\n".into()));
        assert_eq!(text(verdict(&[], Some("disk full".into()))), (Status::Ok, "ok, but disk full\n".into()));
        let both = ["shard 1 failed".into(), "journal failed".into()];
        let told = (Status::Unavailable, "shard 1 failed\njournal failed\n".into());
        assert_eq!(text(verdict(&both, Some("it too".into()))), told);
    }
}
