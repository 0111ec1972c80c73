//! Changes of the configuration while the broker runs.
//!
//! Invariants: a change is checked whole, journalled, and in force on all cores when it is durable; the next start applies all of them
//! over its configuration file, and says so. On failure: a refusal that names the key, and nothing is changed; one that the next
//! program no longer takes is passed over with a warning.

use ringmq_io::Env;
use ringmq_io::limits::CONFIG_CHANGES_MAX;
use ringmq_wire::code::response_code;

use super::Control;
use super::journal::{self, State};
use crate::config::{ChangeError, Setting};
use crate::core::Core;
use crate::reply::Refusal;
use crate::tables::TableChange;

impl<E: Env> Control<E> {
    /// Makes the change; in force everywhere when `all_announced` is done.
    pub fn change_settings(&self, settings: Vec<Setting>) -> Result<(), Refusal> {
        if let Err(error) = self.core.config.changed(&settings) {
            let code = match error {
                ChangeError::BlackListed(_) => response_code::NO_PERMISSION,
                _ => response_code::SYSTEM_ERROR,
            };
            return Err(Refusal::new(code, error.to_string()));
        }
        if settings.is_empty() {
            return Ok(());
        }
        let changes = self.settings_changed.get() + 1;
        if changes > CONFIG_CHANGES_MAX {
            let remark = format!(
                "the configuration was changed {CONFIG_CHANGES_MAX} times since the start: restart first"
            );
            return Err(Refusal::new(response_code::SYSTEM_ERROR, remark));
        }
        self.settings_changed.set(changes);
        let entry = self.append(&journal::entry(|out| journal::settings(out, settings.iter())));
        self.state.borrow_mut().put_settings(&settings);
        self.announce(entry, TableChange::Config(settings));
        Ok(())
    }

    /// How often the configuration was changed since the start.
    pub fn settings_changed(&self) -> usize {
        self.settings_changed.get()
    }
}

/// Puts earlier changes in force on all cores.
pub(super) fn restore<E: Env>(core: &Core<E>, state: &State) {
    let mut settings: Vec<Setting> = Vec::new();
    for (key, value) in state.settings() {
        let setting: Setting = (key.clone(), value.clone());
        match core.config.changed(std::slice::from_ref(&setting)) {
            Ok(_) => {
                tracing::info!(key = &**key, value = &**value, "setting from an earlier change by request");
                settings.push(setting);
            }
            Err(error) => tracing::warn!(%error, "setting from an earlier change has no effect"),
        }
    }
    if !settings.is_empty() {
        core.publish(TableChange::Config(settings));
    }
}
