//! Tasks of one core by class, each class a glommio task queue with its shares.
//!
//! Invariant: every task that is still there when the core ends is dropped before the core's ring is:
//! sockets are closed and locks released.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use glommio::{Latency, Shares, Task, TaskQueueHandle};
use ringmq_io::Class;
use slab::Slab;

use crate::watch::{Place, Watch};

/// glommio's preemption timer: off, in effect. When it fires between glommio's poll of its rings and
/// its first look at the task queues (the thread lost its CPU there), glommio 0.9 takes the queues for
/// empty and sleeps on ready tasks. Instead the driver and every yield let glommio poll now and then
/// ([`crate::driver::POLL_EVERY`]).
pub(crate) const PREEMPT: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(crate) struct Tasks {
    queues: [TaskQueueHandle; 4],
    running: Rc<RefCell<Slab<Task<()>>>>,
    watch: Rc<Watch>,
}

fn slot(class: Class) -> usize {
    match class {
        Class::Foreground => 0,
        Class::Flush => 1,
        Class::ColdRead => 2,
        Class::Background => 3,
    }
}

impl Tasks {
    /// Inside the executor.
    pub(crate) fn new(watch: Rc<Watch>) -> Self {
        // A latency would arm the preemption timer.
        let queue = |shares, name| {
            glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
        };
        Self {
            queues: [
                queue(1000, "foreground"),
                // Few and short, but acknowledgements wait for them.
                queue(1000, "flush"),
                queue(200, "cold-read"),
                queue(50, "background"),
            ],
            running: Rc::default(),
            watch,
        }
    }

    pub(crate) fn queue(&self, class: Class) -> TaskQueueHandle {
        self.queues[slot(class)]
    }

    #[track_caller]
    pub(crate) fn spawn(&self, class: Class, task: impl Future<Output = ()> + 'static) {
        let mut running = self.running.borrow_mut();
        let entry = running.vacant_entry();
        let (key, tasks) = (entry.key(), self.running.clone());
        let task = watched(self.watch.clone(), class, task);
        let wrapped = async move {
            task.await;
            // Not there when the core is ending: then `end` has the handle.
            if let Some(me) = tasks.borrow_mut().try_remove(key) {
                me.detach();
            }
        };
        let task = glommio::spawn_local_into(wrapped, self.queue(class)).expect("the queue exists");
        entry.insert(task);
    }

    /// Drops all tasks, also those that their drops start.
    pub(crate) async fn end(&self) {
        loop {
            let tasks: Vec<_> = self.running.borrow_mut().drain().collect();
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                task.cancel().await;
            }
        }
    }
}

/// The task, with the time of its polls noted as that of whoever calls this.
#[track_caller]
pub(crate) fn watched<T>(
    watch: Rc<Watch>,
    class: Class,
    task: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let place = Place { class, spawned: Location::caller() };
    async move {
        let mut task = pin!(task);
        poll_fn(|cx| watch.poll(place, || task.as_mut().poll(cx))).await
    }
}
