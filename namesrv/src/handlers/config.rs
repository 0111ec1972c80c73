//! The name server's own settings: 318 changes them, 319 shows them.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::Flow;
use ringmq_wire::Command;
use ringmq_wire::code::response_code::{NO_PERMISSION, SYSTEM_ERROR};
use ringmq_wire::properties_text;
use tracing::{info, warn};

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::config::ConfigError;

impl<E: Env> NameServer<E> {
    /// RocketMQ 5.5.0 DefaultRequestProcessor#updateConfig, except that a value which cannot be read is refused (there it
    /// is skipped in silence), and that keys without effect are named in the remark.
    pub(super) fn update_config(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let text = String::from_utf8_lossy(command.body);
        let bad = |error: ConfigError| Refusal::Code(SYSTEM_ERROR, error.to_string());
        let entries = properties_text::parse(&text).map_err(|error| bad(error.into()))?;
        if entries.iter().any(|entry| self.config.borrow().is_black_listed(&entry.key)) {
            return Err(Refusal::Code(NO_PERMISSION, "Can not update config in black list.".into()));
        }
        let applied = self.config.borrow_mut().apply_live(&entries).map_err(bad)?;
        self.table.borrow_mut().forget_texts();
        let idle: Vec<_> = applied.without_effect.iter().map(|(key, why)| format!("{key} ({why})")).collect();
        for (key, value) in &applied.changed {
            info!(key, value, peer = %asker.peer(), "setting changed");
        }
        if !idle.is_empty() {
            warn!(keys = idle.join(", "), peer = %asker.peer(), "settings without effect");
        }
        let remark = (!idle.is_empty()).then(|| format!("without effect: {}", idle.join(", ")));
        if applied.changed.is_empty() {
            answer(asker, remark);
            return Ok(Flow::Continue);
        }
        let (saved, asker) = (self.settings.save(applied.changed), asker.clone());
        Ok(Flow::Wait(Box::pin(async move {
            match saved.await {
                Ok(()) => answer(&asker, remark),
                Err(error) => {
                    let remark = format!("settings {error}");
                    asker.refuse(&Refusal::Code(SYSTEM_ERROR, remark));
                }
            }
        })))
    }

    pub(super) fn get_config(self: &Rc<Self>, asker: &Asker<E>) -> Handled {
        asker.ok_body(self.config.borrow().shown_text().as_bytes());
        Ok(Flow::Continue)
    }
}

fn answer<E: Env>(asker: &Asker<E>, remark: Option<String>) {
    match remark {
        Some(remark) => asker.ok_remark(&remark),
        None => asker.ok(),
    }
}
