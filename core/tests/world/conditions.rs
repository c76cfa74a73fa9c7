//! What links and kernels are like.

/// What links do to adverts and how slow kernels are, in thousandths and nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub loss: u64,
    pub duplication: u64,
    pub least_delay: u64,
    pub most_delay: u64,
    /// Thousandths of adverts that are delayed by up to two seconds more.
    pub stragglers: u64,
    pub kernel_delay: u64,
}

impl Conditions {
    pub const CALM: Self = Self {
        loss: 0,
        duplication: 0,
        least_delay: 200_000,
        most_delay: 200_000,
        stragglers: 0,
        kernel_delay: 100_000,
    };
}
