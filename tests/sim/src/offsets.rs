//! Consumer offsets in the metadata journal, as a broker keeps them: entries of one queue's offset,
//! snapshots of all.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_simenv::SimEnv;
use ringmq_store::meta::{MetaLog, OpenError, Replay};

use crate::clients::SharedModel;
use crate::plan::{Bug, QUEUES};

pub async fn open(env: &SimEnv, data: &Path) -> Result<(MetaLog<SimEnv>, Vec<u64>), OpenError> {
    let (log, replay) = MetaLog::open(env, &data.join("meta")).await?;
    Ok((log, offsets_of(&replay)))
}

fn offsets_of(replay: &Replay) -> Vec<u64> {
    let mut offsets = vec![0; QUEUES.len()];
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    if let Some(snapshot) = &replay.snapshot {
        for (offset, bytes) in offsets.iter_mut().zip(snapshot.chunks(8)) {
            *offset = word(bytes);
        }
    }
    for entry in &replay.entries {
        offsets[entry[0] as usize] = word(&entry[1..9]);
    }
    offsets
}

/// Commits growing offsets until the journal latches.
pub async fn commit(env: SimEnv, log: Rc<MetaLog<SimEnv>>, model: SharedModel, bug: Option<Bug>) {
    loop {
        let mut asked = Vec::new();
        for _ in 0..=env.random() % 4 {
            let queue = (env.random() % QUEUES.len() as u64) as usize;
            let offset = model.borrow().last_commit(queue) + 1 + env.random() % 10;
            let mut entry = vec![queue as u8];
            entry.extend_from_slice(&offset.to_le_bytes());
            entry.resize(9 + (env.random() % 300) as usize, 7);
            let lsn = log.append(&entry);
            model.borrow_mut().commit_asked(queue, offset);
            asked.push((queue, offset, lsn));
        }
        let last = asked.last().map_or(0, |(_, _, lsn)| *lsn);
        if bug != Some(Bug::AckBeforeJournal) && log.wait_durable(last).await.is_err() {
            return;
        }
        if env.alive() {
            for (queue, offset, _) in asked {
                model.borrow_mut().commit_acknowledged(queue, offset);
            }
        }
        env.sleep(Duration::from_micros(env.random() % 5000)).await;
        if env.random().is_multiple_of(20) {
            let upto = log.last_lsn();
            let state = (0..QUEUES.len()).flat_map(|queue| model.borrow().last_commit(queue).to_le_bytes());
            let state = state.collect();
            let _ = log.snapshot(state, upto).await; // its failure is harmless: the next life shows it
        }
    }
}
