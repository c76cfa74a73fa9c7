//! The first files of a cluster: composed, put in place, carried to the other machines. Nothing is
//! overwritten, and what turns out to be wrong is taken back.

mod files;
mod here;
mod plan;
mod token;

pub use files::{Placed, create, secret_beside};
pub use here::Here;
pub use plan::{Member, Plan, is_plain};
pub use token::{Carried, MARK};

#[cfg(test)]
mod tests;
