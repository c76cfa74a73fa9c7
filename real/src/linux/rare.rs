//! What happens rarely beside datagrams and deadlines: requests, signals, an agent's messages. To look
//! for all of it in every turn would cost more than what most turns are for; so it rings a bell.

use super::Linux;
use crate::driver::ShellEvent;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rings when something rare may have happened, and wakes the driver.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<Rope>);

#[derive(Debug)]
struct Rope {
    has_rung: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Default for Rope {
    /// Nothing was looked for yet.
    fn default() -> Self {
        Self {
            has_rung: AtomicBool::new(true),
            driver: Mutex::new(None),
        }
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = &*driver {
            driver.wake_by_ref();
        }
    }
}

impl Bell {
    /// What rings it, if it has rung since this was last asked; the driver is woken by the next ring.
    fn has_rung(&self, cx: &Context<'_>) -> Option<Waker> {
        let mut driver = self.0.driver.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(driver);
        // After that: a ring from here on wakes the driver, one before it is seen.
        let rung = self.0.has_rung.swap(false, Ordering::AcqRel);
        rung.then(|| Arc::clone(&self.0).into())
    }

    /// There may be more: it is looked for again the next time, without a wake-up.
    fn again(&self) {
        self.0.has_rung.store(true, Ordering::Release);
    }
}

impl Linux {
    /// Whether something rare happened. Ready, it is to be called again.
    pub(super) fn poll_what_is_rare(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Some(bell) = self.pending.bell.has_rung(cx) else {
            return Poll::Pending;
        };
        let cx = &mut Context::from_waker(&bell);
        let mut any = Poll::Pending;
        if let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            self.pending.events.push_back(ShellEvent::Request(request));
            any = Poll::Ready(());
        }
        if let Poll::Ready(Some(ask)) = self.upgrades.poll_recv(cx) {
            self.pending.events.push_back(ShellEvent::Upgrade(ask));
            any = Poll::Ready(());
        }
        let [terminate, interrupt, hangup] = &mut self.signals;
        let stop = terminate.poll_recv(cx).is_ready() | interrupt.poll_recv(cx).is_ready();
        if hangup.poll_recv(cx).is_ready() {
            self.begin_reload(None, false);
            any = Poll::Ready(());
        }
        if stop {
            any = Poll::Ready(());
            if !std::mem::replace(&mut self.pending.stopping, true) {
                tracing::info!("stopping: handing over what is held, then leaving");
                self.notify.stopping();
                self.pending.events.push_back(ShellEvent::Stop);
            }
        }
        self.exporter.hear_faults(cx);
        if self.poll_agent(cx).is_ready() {
            any = Poll::Ready(());
        }
        if any.is_ready() {
            self.pending.bell.again();
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Driver(AtomicUsize);

    impl Wake for Driver {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_rings_wakes_the_driver_and_is_looked_for_once() {
        let (bell, driver) = (Bell::default(), Arc::new(Driver::default()));
        let waker = Waker::from(Arc::clone(&driver));
        let cx = Context::from_waker(&waker);
        let first = bell.has_rung(&cx).expect("nothing was looked for yet");
        assert!(bell.has_rung(&cx).is_none());
        first.wake_by_ref();
        assert_eq!(driver.0.load(Ordering::Relaxed), 1);
        assert!(bell.has_rung(&cx).is_some());
        assert!(bell.has_rung(&cx).is_none());
        bell.again();
        assert!(bell.has_rung(&cx).is_some());
        assert_eq!(driver.0.load(Ordering::Relaxed), 1, "it is awake");
    }
}
