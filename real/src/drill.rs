//! A drill: the running pair is taken down on purpose, one fault at a time, through what is there
//! already, and somebody else looks on from the network.
//!
//! Two commands. `onehold observe` asks the network, again and again, who answers for a floating
//! address, and says what it saw in [`lines`]. `onehold drill` runs on the holder, starts an
//! observer on another machine by a command of the operator's, does one thing after another to its
//! own daemon, and writes down what the observer saw.
//!
//! What this never does: measure by what a daemon believes of itself if the network can be asked;
//! compare two machines' clocks (each time is the observer's; a *mark* says when the drill went
//! on); begin while anything is wrong; leave a fault behind, whatever becomes of the drill: that is
//! [`keeper`]'s.

pub mod cost;
pub mod fault;
pub mod keeper;
pub mod lines;
pub mod observe;
pub mod page;
pub mod run;
pub mod situation;
pub mod tally;
pub mod watcher;
