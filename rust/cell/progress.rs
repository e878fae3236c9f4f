//! Progress: the state of one exchange between its driver and its caller.
//!
//! All of it is behind the cell's lock. It drives the exchange, keeps what has come, and knows what the
//! caller wants; it neither locks nor spawns.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::{ExchangeCell, Failure, Listener, Part, Source, Want};
use crate::connect::Leg;
use crate::connection::ResponseHead;
use crate::exchange::Exchange;

/// How far a task reads ahead of its caller. With hyper's own buffer and one part handed out (256 KiB each)
/// this is the promised 1 MiB per connection.
pub(super) const READ_AHEAD: usize = 512 * 1024;

/// How far a caller reads who looks in passing, while others wait for the interpreter: a small body comes with its head.
pub(super) const GLANCE: usize = 8 * 1024;

/// The most body bytes handed out at a time: one large copy is as fast as several, and the caller's
/// loop is not held up for longer than this takes to copy.
const MAX_PART: usize = 256 * 1024;

/// The step that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// A connection is acquired; in a stepwise exchange only, as the next one. Else both belong to sending.
    Acquiring,
    /// It is opened, leg by leg.
    Opening(Leg),
    Sending,
    Head,
    Body,
    Ended,
}

/// How far an exchange has come, what of it waits to be taken, and who waits for it.
pub(super) struct Progress {
    /// `None` once closed or failed.
    pub(super) exchange: Option<Exchange>,
    pub(super) stage: Stage,
    pub(super) driven: bool,
    /// Goes no further than to what the caller waits for, and tells of each step apart from the others.
    stepwise: bool,
    /// A stepwise exchange has no connection yet, and is going to open one.
    connects: bool,
    /// What a proxy has said, until it is told.
    proxy_answer: Option<ResponseHead>,
    /// The failure is of one step: the exchange goes on when the caller asks for another.
    passes: bool,
    /// The caller pushes the body and has not said that it ends.
    pub(super) body_open: bool,
    /// Nobody has polled since the last push.
    pub(super) pushed: bool,
    pub(super) head: Option<ResponseHead>,
    pub(super) body: VecDeque<Bytes>,
    /// Invariant: the sum of the lengths in `body`.
    pub(super) buffered: usize,
    /// Raised when its place is reached: after the body bytes that came before it.
    pub(super) failure: Option<Failure>,
    pub(super) wanted: Option<Wanted>,
    /// The driving task, parked until the caller pushes, takes or closes.
    pub(super) parked: Option<Waker>,
}

/// What the caller waits for.
pub(super) struct Wanted {
    pub(super) want: Want,
    pub(super) since: Instant,
    /// `None` for a caller who polls by itself.
    pub(super) listener: Option<(Arc<dyn Listener>, usize)>,
    /// A part is announced once; what arrives until it is taken comes along.
    pub(super) announced: bool,
}

impl Wanted {
    /// From now on, by a caller who polls by itself.
    pub(super) fn now(want: Want) -> Self {
        Self {
            want,
            since: Instant::now(),
            listener: None,
            announced: false,
        }
    }
}

impl Want {
    /// The stage that brings it.
    fn stage(self) -> Stage {
        match self {
            Want::Acquired => Stage::Acquiring,
            Want::Gone(leg) => Stage::Opening(leg),
            Want::Sent => Stage::Sending,
            Want::Head => Stage::Head,
            Want::Body => Stage::Body,
        }
    }
}

impl Progress {
    pub(super) fn new(exchange: Exchange, body_open: bool, stepwise: bool) -> Self {
        Self {
            exchange: Some(exchange),
            stage: if stepwise {
                Stage::Acquiring
            } else {
                Stage::Sending
            },
            driven: false,
            stepwise,
            connects: false,
            proxy_answer: None,
            passes: false,
            body_open,
            pushed: false,
            head: None,
            body: VecDeque::new(),
            buffered: 0,
            failure: None,
            wanted: None,
            parked: None,
        }
    }

    /// Drives the exchange as far as it goes now. Ready when there is nothing left to drive.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.advance_up_to(cx, READ_AHEAD)
    }

    /// As [`Progress::advance`], with so much of the body ahead.
    pub(super) fn advance_up_to(&mut self, cx: &mut Context<'_>, ahead: usize) -> Poll<()> {
        self.driven = true;
        self.pushed = false;
        match catch_unwind(AssertUnwindSafe(|| self.advance_or_fail(cx, ahead))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(()),
            Ok(Poll::Ready(Err(error))) if matches!(self.stage, Stage::Opening(_)) => {
                self.stage = Stage::Opening(Leg::Socket);
                self.passes = true;
                self.failure = Some(Failure::Error(error));
                Poll::Pending
            }
            Ok(Poll::Ready(Err(error))) => {
                self.exchange = None;
                self.failure = Some(Failure::Error(error));
                Poll::Ready(())
            }
            Err(_panic) => {
                self.exchange = None;
                self.failure = Some(Failure::Panic(crate::panics::last()));
                Poll::Ready(())
            }
        }
    }

    fn advance_or_fail(
        &mut self,
        cx: &mut Context<'_>,
        ahead: usize,
    ) -> Poll<crate::error::Result<()>> {
        let Some(exchange) = self.exchange.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        if self.passes {
            return Poll::Pending;
        }
        let waiting = self.wanted.as_ref().map(|wanted| wanted.since);
        let wanted = self.wanted.as_ref().map(|wanted| wanted.want.stage());
        loop {
            if self.stepwise && wanted.is_none_or(|wanted| self.stage > wanted) {
                return Poll::Pending;
            }
            match self.stage {
                Stage::Acquiring => {
                    self.connects = std::task::ready!(exchange.poll_acquired(cx, waiting))?;
                    self.stage = Stage::Opening(Leg::Socket);
                }
                Stage::Opening(leg) => {
                    std::task::ready!(exchange.poll_leg(cx, leg))?;
                    if leg == Leg::Answer {
                        self.proxy_answer = exchange.proxy_answer().cloned();
                    }
                    self.stage = leg.next().map_or(Stage::Sending, Stage::Opening);
                }
                Stage::Sending => {
                    std::task::ready!(exchange.poll_sent(cx, waiting))?;
                    self.stage = Stage::Head;
                    if let Some(error) = exchange.abandon_body() {
                        // Whoever pushes the body is told to stop; the response may tell why.
                        self.body_open = false;
                        if self.stepwise {
                            self.passes = true;
                            self.failure = Some(Failure::Error(error));
                            return Poll::Pending;
                        }
                    }
                }
                // httpcore's order: the response is read when the whole body was written.
                Stage::Head if self.body_open => return Poll::Pending,
                Stage::Head => {
                    self.head = Some(std::task::ready!(exchange.poll_head(cx, waiting))?);
                    self.stage = Stage::Body;
                }
                // Looked at before every poll: hyper wakes its own task, and would else read for ever.
                Stage::Body if self.buffered >= ahead => return Poll::Pending,
                Stage::Body => match std::task::ready!(exchange.poll_body(cx, waiting))? {
                    Some(frame) => {
                        self.buffered += frame.len();
                        self.body.push_back(frame);
                    }
                    None => self.stage = Stage::Ended,
                },
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    pub(super) fn has(&self, want: Want) -> bool {
        self.failure.is_some()
            || match want {
                Want::Acquired | Want::Gone(_) | Want::Sent => self.stage > want.stage(),
                Want::Head => self.head.is_some(),
                Want::Body => !self.body.is_empty() || self.stage == Stage::Ended,
            }
    }

    pub(super) fn take(&mut self, want: Want) -> Option<Result<Part, Failure>> {
        if want == Want::Head && self.head.is_some() {
            let head = self.head.take()?;
            let body = self.take_body();
            return Some(Ok(Part::Head {
                head,
                body,
                ended: self.stage == Stage::Ended && self.body.is_empty(),
            }));
        }
        if want == Want::Body && !self.body.is_empty() {
            return Some(Ok(Part::Body(self.take_body())));
        }
        if let Some(failure) = self.failure.take() {
            if !std::mem::take(&mut self.passes) {
                // Whoever asks again learns that it is over.
                self.failure = Some(Failure::Closed);
            }
            return Some(Err(failure));
        }
        match want {
            Want::Acquired if self.stage > want.stage() => Some(Ok(Part::Acquired {
                connects: self.connects,
            })),
            Want::Gone(_) if self.stage > want.stage() => Some(Ok(Part::Gone {
                answer: self.proxy_answer.take(),
            })),
            Want::Sent if self.stage > want.stage() => Some(Ok(Part::Sent {
                takes_more: self.body_open,
            })),
            Want::Body if self.stage == Stage::Ended => Some(Ok(Part::Body(Vec::new()))),
            _ => None,
        }
    }

    /// Somebody who polls by itself waits for a part, since it first asked for that.
    pub(super) fn want(&mut self, want: Want) {
        if (self.wanted.as_ref()).is_none_or(|wanted| wanted.want != want) {
            self.wanted = Some(Wanted::now(want));
        }
    }

    /// Takes the part for whoever waits for it: nobody does any more.
    pub(super) fn hand_over(&mut self, want: Want) -> Option<Result<Part, Failure>> {
        let part = self.take(want)?;
        self.wanted = None;
        Some(part)
    }

    /// Takes frames up to [`MAX_PART`], and lets a task that stopped reading ahead go on.
    fn take_body(&mut self) -> Vec<Bytes> {
        let was_full = self.buffered >= READ_AHEAD;
        let mut part = Vec::new();
        let mut length = 0;
        while let Some(frame) = self.body.front() {
            if !part.is_empty() && length + frame.len() > MAX_PART {
                break;
            }
            length += frame.len();
            part.extend(self.body.pop_front());
        }
        self.buffered -= length;
        if was_full && self.buffered < READ_AHEAD {
            self.unpark();
        }
        part
    }

    pub(super) fn announce(&mut self, cell: &Arc<ExchangeCell>) {
        let Some(want) = self.wanted.as_ref().map(|wanted| wanted.want) else {
            return;
        };
        if !self.has(want) {
            return;
        }
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| !wanted.announced)
            && let Some((listener, key)) = &wanted.listener
        {
            listener.announce(Arc::clone(cell) as Arc<dyn Source>, *key);
            wanted.announced = true;
        }
    }

    /// Lets the task go on, if it waits for the caller to wait: in a stepwise exchange, and after a push.
    pub(super) fn allow(&mut self) {
        if self.stepwise || self.pushed {
            self.unpark();
        }
    }

    pub(super) fn unpark(&mut self) {
        if let Some(task) = self.parked.take() {
            task.wake();
        }
    }
}
