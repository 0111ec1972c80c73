//! Tasks and time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::sync::Event;
use crate::{Class, Env, deadline};

pub async fn all<E: Env>(env: &E) {
    spawned_tasks_run(env).await;
    a_yield_lets_ready_tasks_run(env).await;
    a_yield_reaches_tasks_woken_before_it(env).await;
    timers_fire_in_order(env).await;
    a_dropped_sleep_wakes_nobody(env).await;
    a_deadline_ends_the_work(env).await;
    clocks_run(env).await;
}

/// A task of each class runs without being awaited, and may spawn further tasks.
pub async fn spawned_tasks_run<E: Env>(env: &E) {
    let ran = Rc::new(Cell::new(0));
    let done = Rc::new(Event::new());
    for class in [Class::Foreground, Class::Flush, Class::ColdRead, Class::Background] {
        let (env_of_task, ran, done) = (env.clone(), ran.clone(), done.clone());
        env.spawn(class, async move {
            env_of_task.clone().spawn(class, async move {
                ran.set(ran.get() + 1);
                done.notify();
            });
        });
    }
    while ran.get() < 4 {
        done.wait().await;
    }
}

/// Tasks of the same class that are ready when a task yields have run when it goes on.
pub async fn a_yield_lets_ready_tasks_run<E: Env>(env: &E) {
    let done = Rc::new(Event::new());
    let finished = Rc::new(Cell::new(false));
    let (env_of_task, notify, finish) = (env.clone(), done.clone(), finished.clone());
    env.spawn(Class::Foreground, async move {
        let env = env_of_task;
        for _ in 0..20 {
            let ran = Rc::new(Cell::new(0));
            for _ in 0..10 {
                let ran = ran.clone();
                env.spawn(Class::Foreground, async move { ran.set(ran.get() + 1) });
            }
            env.yield_now().await;
            assert_eq!(ran.get(), 10, "ready tasks that a yield let run");
        }
        finish.set(true);
        notify.notify();
    });
    while !finished.get() {
        done.wait().await;
    }
}

/// The same for tasks that waited and were woken by the task that yields.
pub async fn a_yield_reaches_tasks_woken_before_it<E: Env>(env: &E) {
    let done = Rc::new(Event::new());
    let finished = Rc::new(Cell::new(false));
    let (env_of_task, notify, finish) = (env.clone(), done.clone(), finished.clone());
    env.spawn(Class::Foreground, async move {
        let env = env_of_task;
        let go = Rc::new(Event::new());
        let waiting = Rc::new(Cell::new(0));
        let seen = Rc::new(Cell::new(0));
        for _ in 0..5 {
            let (go, seen, waiting) = (go.clone(), seen.clone(), waiting.clone());
            env.spawn(Class::Foreground, async move {
                for _ in 0..10 {
                    let next = go.wait();
                    waiting.set(waiting.get() + 1);
                    next.await;
                    waiting.set(waiting.get() - 1);
                    seen.set(seen.get() + 1);
                }
            });
        }
        for round in 1..=10 {
            while waiting.get() < 5 {
                env.yield_now().await;
            }
            go.notify();
            env.yield_now().await;
            assert_eq!(seen.get(), 5 * round, "woken tasks that a yield let run");
        }
        finish.set(true);
        notify.notify();
    });
    while !finished.get() {
        done.wait().await;
    }
}

/// A sleep lasts at least as long as asked for, and timers fire in the order of their deadlines.
pub async fn timers_fire_in_order<E: Env>(env: &E) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let done = Rc::new(Event::new());
    for ms in [60u64, 20, 40, 0] {
        let (env_of_task, order, done) = (env.clone(), order.clone(), done.clone());
        env.spawn(Class::Foreground, async move {
            let begin = env_of_task.monotonic_ns();
            env_of_task.sleep(Duration::from_millis(ms)).await;
            let slept = env_of_task.monotonic_ns() - begin;
            assert!(slept >= ms * 1_000_000, "slept {slept} ns instead of {ms} ms");
            order.borrow_mut().push(ms);
            done.notify();
        });
    }
    while order.borrow().len() < 4 {
        done.wait().await;
    }
    assert_eq!(*order.borrow(), [0, 20, 40, 60]);
}

/// A sleep that is dropped before its end leaves nothing behind.
pub async fn a_dropped_sleep_wakes_nobody<E: Env>(env: &E) {
    for _ in 0..100 {
        let long = env.sleep(Duration::from_secs(3600));
        let mut long = Box::pin(long);
        assert!(futures_lite::future::poll_once(&mut long).await.is_none());
    }
    env.sleep(Duration::from_millis(1)).await;
}

/// `deadline` gives the result if it comes in time and `TimedOut` otherwise.
pub async fn a_deadline_ends_the_work<E: Env>(env: &E) {
    let soon = deadline(env, Duration::from_secs(10), async { 7 }).await;
    assert_eq!(soon.expect("in time"), 7);
    let never = deadline(env, Duration::from_millis(5), std::future::pending::<()>()).await;
    assert_eq!(never.expect_err("never ends").kind(), std::io::ErrorKind::TimedOut);
}

/// The monotonic clock never goes back; the wall clock is a plausible date; random numbers differ.
pub async fn clocks_run<E: Env>(env: &E) {
    let mut last = env.monotonic_ns();
    for _ in 0..50 {
        env.yield_now().await;
        let now = env.monotonic_ns();
        assert!(now >= last, "the monotonic clock went back from {last} to {now}");
        last = now;
    }
    assert!(env.now_ms() > 1_500_000_000_000, "the wall clock shows {}", env.now_ms());
    assert_ne!(env.random(), env.random());
    assert!(env.core() < env.cores());
}
